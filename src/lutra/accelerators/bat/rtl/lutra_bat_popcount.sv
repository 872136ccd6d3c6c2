// How many of Inputs bits are 1.
//
// With LUTRA_FAST_SIMULATION a system function counts; synthesis gets halves that are counted apart, down to six bits,
// which lookup tables of six inputs count directly. A test compares both.
//
// Timing: combinational.
module lutra_bat_popcount #(
  parameter int unsigned Inputs = 8,                    // at least 1
  parameter int unsigned Bits = $clog2(Inputs + 1)      // bits of the count: just enough for Inputs
) (
  input  logic [Inputs-1:0] bits_i,  // what to count
  output logic [Bits-1:0]   count_o  // how many are 1
);

`ifdef LUTRA_FAST_SIMULATION
  assign count_o = Bits'($countones(bits_i));
`else
  localparam int unsigned Low = Inputs / 2;
  localparam int unsigned LowBits = $clog2(Low + 1);
  localparam int unsigned High = Inputs - Low;
  localparam int unsigned HighBits = $clog2(High + 1);

  if (Inputs <= 6) begin : gen_few
    always_comb begin
      count_o = '0;
      for (int i = 0; i < Inputs; i++) begin
        count_o = count_o + Bits'(bits_i[i]);
      end
    end
  end else begin : gen_halves
    logic [LowBits-1:0]  low;
    logic [HighBits-1:0] high;

    lutra_bat_popcount #(.Inputs(Low)) u_low (.bits_i(bits_i[Low-1:0]), .count_o(low));
    lutra_bat_popcount #(.Inputs(High)) u_high (.bits_i(bits_i[Inputs-1:Low]), .count_o(high));
    assign count_o = Bits'(low) + Bits'(high);
  end
`endif

endmodule
