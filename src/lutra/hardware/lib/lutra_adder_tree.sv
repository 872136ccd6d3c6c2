// Sum of many integers, in a tree with a register after every second level.
//
// Timing: new terms in every cycle with enable_i; sum_o shows their sum after ceil(log2(Terms) / 2) such cycles, at least
// one.
module lutra_adder_tree #(
  parameter int unsigned Terms = 8,                      // at least 1
  parameter int unsigned Bits = 8,                       // of a term, at least 2
  parameter int unsigned SumBits = Bits + $clog2(Terms)  // of the sum; more repeat the sign
) (
  input  logic                  clk_i,     // clock
  input  logic                  enable_i,  // advance the pipeline
  input  logic [Terms*Bits-1:0] terms_i,   // two's complement, the first in the lowest bits
  output logic [SumBits-1:0]    sum_o      // their sum
);

  if (Terms < 1 || Bits < 2 || SumBits < Bits + $clog2(Terms)) begin : gen_wrong
    $error("Terms must be at least 1, Bits 2, SumBits enough for the sum");
  end

  localparam int unsigned Levels = Terms > 1 ? $clog2(Terms) : 1;
  localparam int unsigned Group = Terms > 2 ? 4 : Terms;
  localparam int unsigned Groups = (Terms + Group - 1) / Group;
  localparam int unsigned GroupBits = Bits + (Group > 1 ? $clog2(Group) : 0);

  // Two levels and a register.
  logic [Groups*GroupBits-1:0] groups_q;

  for (genvar g = 0; g < Groups; g++) begin : gen_group
    logic [GroupBits-1:0] sum;

    always_comb begin
      sum = '0;
      for (int unsigned i = g * Group; i < (g + 1) * Group && i < Terms; i++) begin
        sum = sum + {{GroupBits-Bits+1{terms_i[i*Bits+Bits-1]}}, terms_i[i*Bits +: Bits-1]};
      end
    end

    always_ff @(posedge clk_i) begin
      if (enable_i) begin
        groups_q[g*GroupBits +: GroupBits] <= sum;
      end
    end
  end

  if (Levels <= 2) begin : gen_last
    assign sum_o = {{SumBits-GroupBits+1{groups_q[GroupBits-1]}}, groups_q[GroupBits-2:0]};
  end else begin : gen_more
    lutra_adder_tree #(.Terms(Groups), .Bits(GroupBits), .SumBits(SumBits)) u_tree (
      .clk_i, .enable_i, .terms_i(groups_q), .sum_o
    );
  end

endmodule
