// One output of the conditional summation: adds Fold encoded values per step, each only where its bit is 1.
//
// The encoded values of a step's bits are looked up and added to one another (lutra_addend), then to the sum. A stage
// whose enable is 0 switches nothing, which is what a step without a single 1 wants. Arithmetic is modulo 2**SumBits;
// SumBits covers every partial sum, and AddendBits what a step can add.
//
// Timing: stage k of the addend takes at the clock edge with look_up_i[k], one enabled cycle after stage k - 1; the sum
// takes the last stage's at the edge with add_i, one enabled cycle later still. sum_o is a register.
module lutra_accumulator #(
  parameter int unsigned Fold = 1,                // values per step
  parameter int unsigned ValueBits = 8,           // bits of an encoded value, from 2
  parameter int unsigned AddendBits = 8,          // bits of what a step adds, ValueBits to SumBits
  parameter int unsigned LevelsPerStage = 3,      // levels of adders between two registers of the addend
  parameter int unsigned AddendStages = 1,        // registers of the addend
  parameter int unsigned SumBits = 16,            // bits of the sum
  parameter int unsigned Steps = 1,               // steps per row
  parameter int unsigned StepBits = 1,            // bits of the step
  parameter logic [SumBits-1:0] Bias = '0,        // where every row starts
  // Encoded values of each step, two's complement: bit b of step s at b*2**StepBits + s; one word with a single step.
  parameter logic [Fold*ValueBits*(Steps > 1 ? 2**StepBits : 1)-1:0] Values = '0
) (
  input  logic                    clk_i,      // clock
  input  logic [AddendStages-1:0] look_up_i,  // which stages of the addend take
  input  logic [StepBits-1:0]     step_i,     // step of the summation
  input  logic [Fold-1:0]         bits_i,     // which values of this step count
  input  logic                    add_i,      // add the addend
  input  logic                    restart_i,  // to Bias instead of the sum
  output logic [SumBits-1:0]      sum_o       // the sum
);

  if (AddendBits < ValueBits || AddendBits > SumBits || Steps < 1 || StepBits < 1 ||
      2**StepBits < Steps) begin : gen_wrong
    $error("AddendBits must be ValueBits to SumBits, Steps and StepBits from 1, StepBits for all Steps");
  end

  logic [Fold*ValueBits-1:0] values;

  if (Steps > 1) begin : gen_values
    lutra_rom #(.AddressBits(StepBits), .Width(Fold*ValueBits), .Tables(Values)) u_values (
      .address_i(step_i), .word_o(values)
    );
  end else begin : gen_constant
    logic unused_step;
    assign unused_step = ^step_i;
    assign values = Values;
  end

  logic [AddendBits-1:0] addend;
  logic [SumBits-1:0]    start, sum_q;
  logic [SumBits:0]      full;  // bit 0 only makes the carry
  logic                  unused_full;

  lutra_addend #(
    .Fold(Fold), .ValueBits(ValueBits), .AddendBits(AddendBits), .LevelsPerStage(LevelsPerStage), .Stages(AddendStages)
  ) u_addend (
    .clk_i, .enable_i(look_up_i), .values_i(values), .bits_i, .addend_o(addend)
  );

  assign start = restart_i ? Bias : sum_q;
  // addend + start as a difference, whose first operand goes into the carry chain as it is: with the second, the chain
  // would need one more LUT per bit.
  assign full = {{(SumBits-AddendBits+1){addend[AddendBits-1]}}, addend[AddendBits-2:0], 1'b0} - ~{start, 1'b0};
  assign sum_o = sum_q;
  assign unused_full = full[0];

  always_ff @(posedge clk_i) begin
    if (add_i) begin
      sum_q <= full[SumBits:1];
    end
  end

endmodule
