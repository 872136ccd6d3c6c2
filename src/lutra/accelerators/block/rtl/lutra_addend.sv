// What one step adds to a sum: Fold encoded values, each only where its bit is 1, joined by a pipelined tree of adders.
//
// The first level of adders is registered at once, because the values in front of it come out of tables; then every
// LevelsPerStage-th, and the last one. A stage whose enable is 0 switches nothing. AddendBits covers whatever some of
// the values add up to.
//
// Timing: stage k takes at the clock edge with enable_i[k], one enabled cycle after stage k - 1; addend_o is a register.
module lutra_addend #(
  parameter int unsigned Fold = 1,            // values
  parameter int unsigned ValueBits = 8,       // bits of a value, from 2
  parameter int unsigned AddendBits = 8,      // bits of what they add up to, from ValueBits
  parameter int unsigned LevelsPerStage = 3,  // levels of adders between two registers
  parameter int unsigned Stages = 1           // registers from the values to the addend
) (
  input  logic                      clk_i,     // clock
  input  logic [Stages-1:0]         enable_i,  // which stages take
  input  logic [Fold*ValueBits-1:0] values_i,  // values, two's complement, the first in the lowest bits
  input  logic [Fold-1:0]           bits_i,    // which of them count
  output logic [AddendBits-1:0]     addend_o   // what these add up to, two's complement
);

  localparam int unsigned Levels = $clog2(Fold);
  localparam int unsigned Registers = Levels > 1 ? 1 + (Levels + LevelsPerStage - 2) / LevelsPerStage : 1;

  if (Fold < 1 || ValueBits < 2 || AddendBits < ValueBits || LevelsPerStage < 1 ||
      Stages != Registers) begin : gen_wrong
    $error("Fold and LevelsPerStage must be from 1, ValueBits from 2, AddendBits from ValueBits, Stages Registers");
  end

  for (genvar l = 0; l <= Levels; l++) begin : gen_level
    localparam int unsigned Numbers = (Fold + 2**l - 1) / 2**l;
    localparam int unsigned Bits = ValueBits + l < AddendBits ? ValueBits + l : AddendBits;
    logic [Numbers*Bits-1:0] joined, numbers;

    if (l == 0) begin : gen_gated
      for (genvar i = 0; i < Numbers; i++) begin : gen_value
        assign joined[i*Bits +: Bits] = values_i[i*Bits +: Bits] & {Bits{bits_i[i]}};
      end
    end else begin : gen_joined
      localparam int unsigned Below = (Fold + 2**(l-1) - 1) / 2**(l-1);
      localparam int unsigned BelowBits = ValueBits + l - 1 < AddendBits ? ValueBits + l - 1 : AddendBits;
      localparam int unsigned SignBits = Bits - BelowBits + 1;
      logic [Below*Bits-1:0] extended;
      for (genvar i = 0; i < Below; i++) begin : gen_extended
        assign extended[i*Bits +: Bits] = {
          {SignBits{gen_level[l-1].numbers[i*BelowBits + BelowBits-1]}},
          gen_level[l-1].numbers[i*BelowBits +: BelowBits-1]
        };
      end
      for (genvar i = 0; i < Numbers; i++) begin : gen_number
        if (2*i + 1 < Below) begin : gen_sum
          assign joined[i*Bits +: Bits] = extended[2*i*Bits +: Bits] + extended[(2*i+1)*Bits +: Bits];
        end else begin : gen_alone
          assign joined[i*Bits +: Bits] = extended[2*i*Bits +: Bits];
        end
      end
    end

    if (l == Levels || (l > 0 && (l - 1) % LevelsPerStage == 0)) begin : gen_register
      localparam int unsigned Stage = l == Levels ? Stages - 1 : (l - 1) / LevelsPerStage;
      logic [Numbers*Bits-1:0] numbers_q;
      always_ff @(posedge clk_i) begin
        if (enable_i[Stage]) begin
          numbers_q <= joined;
        end
      end
      assign numbers = numbers_q;
    end else begin : gen_wires
      assign numbers = joined;
    end
  end

  assign addend_o = gen_level[Levels].numbers;

endmodule
