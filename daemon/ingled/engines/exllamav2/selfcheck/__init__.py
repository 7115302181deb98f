"""The real kernels of this machine's card against references, and how fast they are.

::

    __main__       the child process of `ingle doctor --deep`: a finding a line on standard output
      run          the checks in order; what an error means for those that follow
        environment  cards, driver, torch, the library's build, flash-attn
        products     EXL2 matrices whose last group is cut short
        decoding     MXFP4 on the card and on the CPU
        projections  the fused norm, projections and rotary embedding, with CUDA graphs
        flash        output and log-sum-exp of flash-attn over a long, paged cache
        layers       sinks, windows and headroom of ingle's own layers
        whole        a small model of the real width, on every path
        speed        memory bandwidth, decode, prefill, memory
      synthetic    random models of any size, as folders; `exl2` packs their matrices
      reference    gpt-oss in plain float32
      bound        what memory bandwidth allows
      measure      medians and errors

A check is a function of a `Setup` that yields findings. References are plain torch in float32 and
share no code with what they check. Random weights are enough: a kernel that is wrong is wrong for
any. The functions are the same for tests on the CPU, where other sizes are given.
"""
