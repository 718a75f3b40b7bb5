/* SPDX-License-Identifier: Apache-2.0 */
/* start.S - the probe's entries: from a Multiboot 1 loader (Multiboot Specification 0.6.96, 3.2) on
 * the first CPU, from a startup IPI on the others.  Both end in C, in 32-bit protected mode without
 * paging and with interrupts off. */

	.set	MAGIC, 0x1badb002
	.set	FLAGS, 3		/* modules at pages' starts; tell of memory */
	.set	CODE, 8
	.set	DATA, 16
	.set	LOW, 0x7000		/* as PROBE_LOW in probe.h */
	.set	STACK_SIZE, 8192
	.set	CPUS, 64		/* as PROBE_CPUS */

	.section .multiboot, "a"
	.align	4
	.long	MAGIC, FLAGS, -(MAGIC + FLAGS)

	.text
	.code32
	.globl	probe_start
probe_start:
	cli
	cld
	lgdt	gdt_pointer		/* the loader's may not last */
	ljmp	$CODE, $1f
1:	mov	$DATA, %ecx
	mov	%ecx, %ds
	mov	%ecx, %es
	mov	%ecx, %ss		/* the loader's stack may be nowhere */
	mov	$stacks + STACK_SIZE, %esp
	push	%ebx			/* the loader's information */
	push	%eax			/* its magic number */
	call	probe_main
2:	hlt
	jmp	2b

/* Copied to LOW, where the startup IPI begins: real mode, CS = LOW >> 4. */
	.code16
	.globl	probe_low
probe_low:
	cli
	cld
	xor	%ax, %ax
	mov	%ax, %ds
	lgdtl	LOW + (low_gdt_pointer - probe_low)
	mov	%cr0, %eax
	or	$1, %al
	mov	%eax, %cr0
	ljmpl	$CODE, $other_start
	.align	4
low_gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt
probe_low_end:

/* The n-th that comes gets the n-th stack; the first CPU has stack 0. */
	.code32
other_start:
	mov	$DATA, %ecx
	mov	%ecx, %ds
	mov	%ecx, %es
	mov	%ecx, %ss
	mov	$1, %eax
	lock xadd %eax, started
	cmp	$CPUS, %eax
	jae	2f
	mov	%eax, %esp
	inc	%esp
	imul	$STACK_SIZE, %esp
	add	$stacks, %esp
	push	%eax
	call	probe_other
2:	cli
	hlt
	jmp	2b

/* Interrupts, from ring 0 to ring 0; the C code uses no other registers. */
	.globl	probe_tick_gate, probe_spurious_gate
probe_tick_gate:
	pusha
	cld
	call	probe_on_tick
	popa
probe_spurious_gate:
	iret

	.section .rodata
	.globl	probe_low_size
	.align	8
gdt:	.quad	0
	.quad	0x00cf9a000000ffff	/* code, 4 GiB */
	.quad	0x00cf92000000ffff	/* data, 4 GiB */
gdt_end:
gdt_pointer:
	.word	gdt_end - gdt - 1
	.long	gdt

	.align	4
probe_low_size:
	.long	probe_low_end - probe_low

	.data
	.align	4
started:
	.long	1

	.bss
	.align	16
stacks:	.skip	STACK_SIZE * CPUS

	.section .note.GNU-stack, "", @progbits
