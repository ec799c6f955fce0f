msaas_unit_test(webhook LINK msaas_notify)
target_include_directories(test_webhook PRIVATE ${CMAKE_SOURCE_DIR}/src/notify)
