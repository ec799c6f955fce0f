msaas_unit_test(sigv4 LINK msaas_store)
