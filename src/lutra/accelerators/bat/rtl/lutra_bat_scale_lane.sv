// One lane of the quantisation unit as the paper draws it: bias adder, multiplier, conversion to an integer, clipping.
//
// The code is floor(u + 1/2), clipped, u = (x + bias) * inverse_step, each rounded; a u beyond the range is clipped too.
//
// Timing: latency of five cycles with enable_i; inverse_step_i is wanted in stage 2 and signed_i in stage 4.
module lutra_bat_scale_lane #(
  parameter int unsigned Bits = 8  // of a code, up to 8; one signed bit has no such form
) (
  input  logic            clk_i,           // clock
  input  logic            enable_i,        // advance the pipeline
  input  logic [15:0]     x_i,             // stage 0: binary16
  input  logic [15:0]     bias_i,          // stage 0: binary16; -0 for none
  input  logic [15:0]     inverse_step_i,  // stage 2: binary16, positive
  input  logic            signed_i,        // stage 4: codes are two's complement
  output logic [Bits-1:0] code_o,          // floor((x + bias) * inverse_step + 1/2), clipped
  output logic            overflow_o       // x + bias left the range
);

  localparam logic [10:0] Largest = 11'(2 ** Bits - 1);     // unsigned code
  localparam logic [10:0] Middle = 11'(2 ** (Bits - 1));    // magnitude of the smallest signed code

  logic [15:0] sum, scaled;
  logic [1:0]  overflow_q;

  lutra_binary16_add u_add (.clk_i, .enable_i, .a_i(x_i), .b_i(bias_i), .y_o(sum));
  lutra_binary16_multiply u_multiply (.clk_i, .enable_i, .a_i(sum), .b_i(inverse_step_i), .y_o(scaled));

  // A function is evaluated only when the pipeline advances.
  function automatic logic [Bits-1:0] clipped(input logic [15:0] u, input logic is_signed);
    logic [4:0]  places;
    logic [22:0] moved;  // |u| in units of 1/2, and 12 bits below them
    logic [10:0] magnitude, limit;

    places    = u[14:10] >= 5'd24 ? 5'd0 : 5'd24 - (|u[14:10] ? u[14:10] : 5'd1);
    moved     = {|u[14:10], u[9:0], 12'd0} >> (places > 5'd12 ? 5'd12 : places);
    magnitude = (moved[22:12] + {10'd0, !u[15] || |moved[11:0]}) >> 1;  // half up: below 0 half goes to the smaller magnitude
    limit     = !is_signed ? (u[15] ? '0 : Largest) : (u[15] ? Middle : Middle - 1'b1);
    if (u[14:10] >= 5'd24 || magnitude > limit) begin  // |u| is 512 and more, or beyond the codes
      magnitude = limit;
    end
    clipped = u[15] ? -magnitude[Bits-1:0] : magnitude[Bits-1:0];
  endfunction

  always_ff @(posedge clk_i) begin
    if (enable_i) begin
      code_o     <= clipped(scaled, signed_i);
      overflow_q <= {overflow_q[0], &sum[14:10]};
      overflow_o <= overflow_q[1];
    end
  end

endmodule
