// The fields of a step's word, from the lowest bit on (program.py writes them).
//
// Timing: combinational.
module lutra_transformer_step #(
  parameter int unsigned StepBits = 303  // bits of a step
) (
  input  logic [StepBits-1:0] word_i,          // the step
  output logic [3:0]          op_o,            // what the step does
  output logic [2:0]          target_o,        // where results of a product go
  output logic [15:0]         rows_o,          // rows; 0: all of the call
  output logic [15:0]         inner_o,         // terms of a sum, or words or beats of a row
  output logic [15:0]         column_tiles_o,  // tiles side by side, or of a head
  output logic [5:0]          shift_o,         // bits that are rounded away
  output logic [23:0]         left_o,          // where left operands or queries begin
  output logic [23:0]         right_o,         // where weights or keys begin; words from chunk to chunk of the tokens
  output logic [23:0]         constants_o,     // where constants begin; words from chunk to chunk of the positions
  output logic [23:0]         destination_o,   // where results begin
  output logic [15:0]         first_row_o,     // row of the first result in the stream
  output logic [7:0]          table_o,         // which table or block
  output logic [10:0]         width_o,         // columns of the model
  output logic [49:0]         epsilon_o,       // what keeps a variance from 0
  output logic [15:0]         multiplier_o,    // of the scores
  output logic [3:0]          gain_o,          // bits by which a context is finer than the values
  output logic [15:0]         heads_o,         // heads
  output logic [23:0]         values_o,        // where the values of attention begin
  output logic                causal_o         // a row sees the keys up to its own
);

  if (StepBits != 303) begin : gen_wrong
    $error("StepBits must be 303");
  end

  assign {causal_o, values_o, heads_o, gain_o, multiplier_o, epsilon_o, width_o, table_o, first_row_o,
          destination_o, constants_o, right_o, left_o, shift_o, column_tiles_o, inner_o, rows_o, target_o, op_o} = word_i;

endmodule
