// The greater of a binary16 number and 0; -0 becomes +0.
//
// Timing: combinational.
module lutra_bat_relu (
  input  logic        enable_i,  // 0: y_o is x_i
  input  logic [15:0] x_i,       // binary16 number
  output logic [15:0] y_o        // x_i, or 0 for a negative one
);

  assign y_o = enable_i && x_i[15] ? 16'd0 : x_i;

endmodule
