"""gpt-oss on ExLlamaV2: what the library lacks for that architecture, and the engine on top of it.

::

    library        version guard; teaches the library the architecture, once
      architecture   names, shapes and switches of GptOssForCausalLM; reads config.json
      rope           YaRN by the model's own parameters
      model          puts the layers below into the library's model
        attention      sinks, windows, paged and contiguous caches
        mixture        router and experts
          linear         expert matrices, headroom against half overflow, low-rank updates
            mxfp4          the published four-bit experts, and expert slices of any file

The library's own files are not changed. Its fused mixture-of-experts kernel is never built: it has
no bias, another activation and another order of softmax and top-k.
"""
