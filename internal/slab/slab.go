// Package slab keeps many small values of one kind, such as what is known of a session,
// side by side in memory. Go does not move what it has allocated: a value that lives for
// days keeps the whole page on which it lies, and the garbage of logins around it leaves
// pages that are nearly empty but cannot be given back. In blocks of their own they cost
// what they hold.
package slab

import (
	"iter"
	"math"
	"math/bits"
)

// size is of a block, in values: one bit each.
const size = 64

// A Slab holds values by numbers, the lowest of which come again soonest. It is for one
// goroutine at a time. Its zero value is empty.
type Slab[T any] struct {
	blocks []*block[T]
	roomy  []int32   // blocks that are not full; nil ones have nothing in them
	spare  *block[T] // an empty one, for a value that comes and goes
	n      int
}

type block[T any] struct {
	used   uint64 // a bit for each value
	values [size]T
}

// Add makes room for a value, which is zero. The pointer holds until the number is
// removed.
func (s *Slab[T]) Add() (number int32, v *T) {
	if len(s.roomy) == 0 {
		s.roomy = append(s.roomy, int32(len(s.blocks)))
		s.blocks = append(s.blocks, nil)
	}
	at := s.roomy[len(s.roomy)-1]
	b := s.blocks[at]
	if b == nil {
		if b, s.spare = s.spare, nil; b == nil {
			b = new(block[T])
		}
		s.blocks[at] = b
	}
	i := bits.TrailingZeros64(^b.used)
	if b.used |= 1 << i; b.used == math.MaxUint64 {
		s.roomy = s.roomy[:len(s.roomy)-1]
	}
	s.n++
	return at*size + int32(i), &b.values[i]
}

// At returns the value of a number, or nil if it has none.
func (s *Slab[T]) At(number int32) *T {
	at, i := int(number/size), number%size
	if number < 0 || at >= len(s.blocks) || s.blocks[at] == nil || s.blocks[at].used&(1<<i) == 0 {
		return nil
	}
	return &s.blocks[at].values[i]
}

// Remove overwrites the value of a number with zero. The number is free.
func (s *Slab[T]) Remove(number int32) {
	v := s.At(number)
	if v == nil {
		return
	}
	var zero T
	*v = zero
	s.n--
	at := number / size
	b := s.blocks[at]
	if b.used == math.MaxUint64 {
		s.roomy = append(s.roomy, at)
	}
	if b.used &^= 1 << (number % size); b.used == 0 {
		s.blocks[at], s.spare = nil, b
	}
}

// Len is how many values there are.
func (s *Slab[T]) Len() int { return s.n }

// All are the values with their numbers. The slab must not be changed meanwhile.
func (s *Slab[T]) All() iter.Seq2[int32, *T] {
	return func(yield func(int32, *T) bool) {
		for at, b := range s.blocks {
			if b == nil {
				continue
			}
			for used := b.used; used != 0; used &= used - 1 {
				i := bits.TrailingZeros64(used)
				if !yield(int32(at*size+i), &b.values[i]) {
					return
				}
			}
		}
	}
}
