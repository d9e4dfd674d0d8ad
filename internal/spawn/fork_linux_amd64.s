#include "textflag.h"

// func forkAndRun(calls *call, no *syscall.Errno, says uintptr) (pid int)
//
// The child has neither stack nor heap: it lives in registers, and reads its errand.
TEXT ·forkAndRun(SB), NOSPLIT|NOFRAME, $0-32
	MOVQ	calls+0(FP), R12
	MOVQ	no+8(FP), R13
	MOVQ	says+16(FP), BX
	MOVL	$56, AX // clone
	MOVL	$17, DI // SIGCHLD
	XORL	SI, SI
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	SYSCALL
	TESTQ	AX, AX
	JEQ	next
	MOVQ	AX, pid+24(FP)
	RET

next:
	MOVQ	0(R12), AX
	MOVQ	8(R12), DI
	MOVQ	16(R12), SI
	MOVQ	24(R12), DX
	MOVQ	32(R12), R10
	ADDQ	$40, R12
	SYSCALL
	CMPQ	AX, $-4095
	JCS	next

	// It has failed: say why.
	NEGQ	AX
	MOVQ	AX, (R13)
	MOVL	$1, AX // write
	MOVQ	BX, DI
	MOVQ	R13, SI
	MOVL	$8, DX
	SYSCALL

end:
	MOVL	$60, AX // exit
	MOVL	$253, DI
	SYSCALL
	JMP	end
