// One output of the conditional summation: adds Fold encoded values per step, each only where its bit is 1.
//
// The register restarts at Bias while the last step's sum is captured elsewhere, so rows follow each other without a
// gap, and the restart is a set or reset of the flip-flops instead of logic in front of the adder. Arithmetic is
// modulo 2**AccBits; AccBits covers every partial sum. With a single step there is no register.
//
// Timing: sum_o is combinational (register plus this step's values); the register takes it at the clock edge with
// add_i, and restarts at the edge with clear_i.
module lutra_accumulator #(
  parameter int unsigned Fold = 1,                // values per step
  parameter int unsigned ValueBits = 8,           // bits of an encoded value, 2 to AccBits
  parameter int unsigned AccBits = 16,            // bits of the sum
  parameter int unsigned Steps = 1,               // steps per row
  parameter int unsigned StepBits = 1,            // bits of the step
  parameter logic [AccBits-1:0] Bias = '0,        // where every row starts
  // Encoded values of each step, two's complement: bit b of step s at b*2**StepBits + s; one word with a single step.
  parameter logic [Fold*ValueBits*(Steps > 1 ? 2**StepBits : 1)-1:0] Values = '0
) (
  input  logic                clk_i,    // clock
  input  logic                rst_ni,   // synchronous reset, active low
  input  logic                add_i,    // keep the sum of this step
  input  logic                clear_i,  // restart at Bias (wins over add_i)
  input  logic [StepBits-1:0] step_i,   // step of the summation
  input  logic [Fold-1:0]     bits_i,   // which values of this step count
  output logic [AccBits-1:0]  sum_o     // sum up to and including this step
);

  logic [AccBits-1:0]        acc;
  logic [Fold*ValueBits-1:0] values;

  if (Steps > 1) begin : gen_register
    logic [AccBits-1:0] acc_q;
    always_ff @(posedge clk_i) begin
      if (!rst_ni || clear_i) begin
        acc_q <= Bias;
      end else if (add_i) begin
        acc_q <= sum_o;
      end
    end
    assign acc = acc_q;
    lutra_rom #(.AddressBits(StepBits), .Width(Fold*ValueBits), .Tables(Values)) u_values (
      .address_i(step_i), .word_o(values)
    );
  end else begin : gen_no_register
    logic unused_control;
    assign unused_control = ^{clk_i, rst_ni, add_i, clear_i, step_i};
    assign acc = Bias;
    assign values = Values;
  end

  logic [AccBits-1:0] value;

  always_comb begin
    sum_o = acc;
    value = '0;
    for (int unsigned j = 0; j < Fold; j++) begin
      value = {{(AccBits-ValueBits+1){values[j*ValueBits + ValueBits-1]}}, values[j*ValueBits +: ValueBits-1]};
      sum_o = sum_o + (value & {AccBits{bits_i[j]}});
    end
  end

endmodule
