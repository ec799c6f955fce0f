msaas_unit_test(job LINK msaas_job)
