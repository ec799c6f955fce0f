# The readers of model files. Seeds are small networks, made when the tests run.
set(model_corpus ${CMAKE_CURRENT_BINARY_DIR}/corpus_model)
add_test(NAME make_model_corpus
         COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/make_model_corpus.sh $<TARGET_FILE:make_model> ${CMAKE_SOURCE_DIR}/test/tools
                 ${model_corpus})
set_tests_properties(make_model_corpus PROPERTIES FIXTURES_SETUP model_corpus TIMEOUT 300)
foreach(name safetensors onnx pickle)
    msaas_fuzz_target(${name} LINK model_files CORPUS ${model_corpus}/${name})
    set_tests_properties(replay_${name} PROPERTIES FIXTURES_REQUIRED model_corpus)
endforeach()
