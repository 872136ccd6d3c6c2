// A finite binary16 number as an integer in units of 2**-24, of which every one is a multiple.
//
// Timing: a new number in every cycle with enable_i; y_o shows its integer after one such cycle.
module lutra_binary16_to_fixed (
  input  logic        clk_i,     // clock
  input  logic        enable_i,  // advance the pipeline
  input  logic [15:0] a_i,       // binary16 number
  output logic [40:0] y_o        // a_i * 2**24, two's complement
);

  // A function is evaluated only when the pipeline advances.
  function automatic logic [40:0] fixed(input logic [14:0] a);
    fixed = {30'd0, |a[14:10], a[9:0]} << (|a[14:10] ? a[14:10] - 5'd1 : 5'd0);
  endfunction

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      y_o <= a_i[15] ? -fixed(a_i[14:0]) : fixed(a_i[14:0]);
    end
  end

endmodule
