// Any processor.
#include "lanes_scalar.h"

#include "bert_kernel.h"

namespace lutra {

const BertKernels bert_scalar = {run_sentences<ScalarLanes>};

}  // namespace lutra
