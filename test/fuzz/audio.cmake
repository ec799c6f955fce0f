# Sound files are made when the tests run; the repository keeps only those inputs that are text.
set(decode_corpus ${CMAKE_CURRENT_BINARY_DIR}/corpus_decode)
add_test(NAME make_decode_corpus
         COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/make_decode_corpus.sh ${decode_corpus})
set_tests_properties(make_decode_corpus PROPERTIES FIXTURES_SETUP decode_corpus TIMEOUT 300)
msaas_fuzz_target(decode LINK msaas_audio CORPUS ${decode_corpus})
set_tests_properties(replay_decode PROPERTIES FIXTURES_REQUIRED decode_corpus)
