#include "textflag.h"

// func forkAndRun(calls *call, no *syscall.Errno, says uintptr) (pid int)
//
// See fork_linux_amd64.s.
TEXT ·forkAndRun(SB), NOSPLIT|NOFRAME, $0-32
	MOVD	calls+0(FP), R19
	MOVD	no+8(FP), R20
	MOVD	says+16(FP), R21
	MOVD	$17, R0 // SIGCHLD
	MOVD	$0, R1
	MOVD	$0, R2
	MOVD	$0, R3
	MOVD	$0, R4
	MOVD	$220, R8 // clone
	SVC
	CBZ	R0, next
	MOVD	R0, pid+24(FP)
	RET

next:
	MOVD	0(R19), R8
	MOVD	8(R19), R0
	MOVD	16(R19), R1
	MOVD	24(R19), R2
	MOVD	32(R19), R3
	ADD	$40, R19
	SVC
	CMN	$4095, R0
	BCC	next

	// It has failed: say why.
	NEG	R0, R0
	MOVD	R0, (R20)
	MOVD	R21, R0
	MOVD	R20, R1
	MOVD	$8, R2
	MOVD	$64, R8 // write
	SVC

end:
	MOVD	$253, R0
	MOVD	$93, R8 // exit
	SVC
	B	end
