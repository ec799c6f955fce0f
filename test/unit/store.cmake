msaas_unit_test(s3 LINK msaas_store)
msaas_unit_test(sigv4 LINK msaas_store)
