/* Reset and exception vectors of an lx106 core, up to the first line of C. */
    .section .reset, "ax"
    .global reset
reset:
    j 1f
    .align 4
2:  .word start
1:  l32r a0, 2b
    jx a0

    .section .vector.kernel, "ax"
    j fault
    .section .vector.user, "ax"
    j fault
    .section .vector.double, "ax"
    j fault

    .section .vector.fault, "ax"
fault:                      /* end the run with exit code 70 + cause */
    rsr.exccause a3
    addi a3, a3, 70
    movi a2, 1              /* simcall SYS_EXIT */
    simcall
1:  j 1b

    .text
    .align 4
start:
    movi a0, 0
    wsr.ps a0
    rsync
    movi a1, __stack
    movi a2, __bss_start
    movi a3, __bss_end
1:  beq a2, a3, 2f          /* both are multiples of 4 */
    s32i a0, a2, 0
    addi a2, a2, 4
    j 1b
2:  call0 main
