msaas_unit_test(http_client LINK msaas_net)
