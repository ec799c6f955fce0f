msaas_fuzz_target(job LINK msaas_job)
