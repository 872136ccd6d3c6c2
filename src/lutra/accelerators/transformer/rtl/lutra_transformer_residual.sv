// Adds a branch to the residual stream, clamped to int16.
//
// Timing: one enabled cycle; a beat in every one.
module lutra_transformer_residual #(
  parameter int unsigned Lanes = 4  // elements of a beat, at least 1
) (
  input  logic                clk_i,     // clock
  input  logic                enable_i,  // go on
  input  logic [Lanes*16-1:0] x_i,       // the stream, two's complement
  input  logic [Lanes*16-1:0] branch_i,  // what is added, two's complement
  output logic [Lanes*16-1:0] y_o        // their sums
);

  if (Lanes < 1) begin : gen_wrong
    $error("Lanes must be at least 1");
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [15:0] sum;

    lutra_saturating_add #(.Bits(16)) u_add (.x_i(x_i[16*l +: 16]), .y_i(branch_i[16*l +: 16]), .sum_o(sum));

    always_ff @(posedge clk_i) begin
      if (enable_i) begin
        y_o[16*l +: 16] <= sum;
      end
    end
  end

endmodule
