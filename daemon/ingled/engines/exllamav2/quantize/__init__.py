"""Quantizing gpt-oss: exllamav2's own converter with what it needs, and a transcoder.

::

    __main__       the child process of `ingle quantize`: reports a line on standard output
      convert      the converter's passes in order, resumable; a table of stages
        calibration  token sequences: Harmony-formatted code work, code, prose
        experts      measuring and quantizing a mixture one expert at a time
        head         the output layer, one group of rows at a time
        library      where the two are put into the library's converter
      transcode    MXFP4 → EXL2 of six bits, value by value, without calibration
      folder       the finished folder: small files, config.json
      check        the folder, reloaded: against its own dequantized weights

Memory is bounded by design: states of the calibration sequences, one layer, and one expert's
variants. The library would hold every variant of every expert of a layer.
"""
