// How many units of a beat of AXI4-Stream count, from its TKEEP.
//
// Timing: combinational.
module lutra_keep #(
  parameter int unsigned Units = 4,      // of a beat
  parameter int unsigned UnitBytes = 1,  // of a unit
  parameter int unsigned CountBits = 3   // of the count
) (
  input  logic [Units*UnitBytes-1:0] keep_i,   // a bit per byte
  output logic [CountBits-1:0]       count_o,  // units all of whose bytes, and those before, are kept
  output logic                       holes_o   // other bytes are kept, too
);

  if (Units < 1 || UnitBytes < 1 || 2**CountBits <= Units) begin : gen_wrong
    $error("Units and UnitBytes must be at least 1, and CountBits enough for Units");
  end

  logic [Units-1:0]           counts;
  logic [Units*UnitBytes-1:0] expected;
  for (genvar u = 0; u < Units; u++) begin : gen_unit
    assign counts[u] = &keep_i[(u+1)*UnitBytes-1:0];
    assign expected[u*UnitBytes +: UnitBytes] = {UnitBytes{counts[u]}};
  end
  assign holes_o = keep_i != expected;

  always_comb begin
    count_o = '0;
    for (int unsigned u = 0; u < Units; u++) begin
      count_o = count_o + CountBits'(counts[u]);
    end
  end

endmodule
