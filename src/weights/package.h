/* What upstream's packages say of their network: class and parameters, in whatever file. */
#ifndef MSAAS_WEIGHTS_PACKAGE_H
#define MSAAS_WEIGHTS_PACKAGE_H

#include "import.h"
#include "pickle.h"

/* Hyper-parameters and stems of a network of that class ("module.name"), made by a constructor that
 * takes these parameters. MS_EMODEL: the text names the class or the parameter that is not
 * supported. */
MS_MUST_CHECK int ms_package_hyper(const char *klass, const struct ms_pickle_value *args,
                                   const struct ms_pickle_value *kwargs, struct ms_imported *out,
                                   struct ms_hyper *hyper, struct ms_error *err);

#endif
