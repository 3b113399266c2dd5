# The fuzz targets, each of a file NAME_fuzz.cpp: built with libFuzzer here, and into one program by tests/CMakeLists.txt.
set(fuzz_targets
    calibration
    config
    gguf
    jinja
    json_schema
    llama2c
    llama2c_tokenizer
    request
    resume_journal
    safetensors
    sentencepiece
    slice_report
    tasks
    template_arguments
    tokenizer_json
    vocab_merges)
