// First part of the layer norm: the sum of a row's elements and that of their squares.
//
// Timing: a beat per cycle; done_o is 1 in cycle t + 2 + max(1, ceil(log2(Lanes) / 2)), t the cycle of the row's last
// beat. The sums are of no meaning in the other cycles.
module lutra_transformer_norm_sums #(
  parameter int unsigned Lanes = 4  // elements of a beat, 1 to 256
) (
  input  logic                clk_i,     // clock
  input  logic                rst_ni,    // synchronous reset, active low
  input  logic                take_i,    // data_i is a beat
  input  logic                first_i,   // the row's first one
  input  logic                last_i,    // the row's last one
  input  logic [Lanes*16-1:0] data_i,    // int16
  output logic                done_o,    // the sums are those of a row
  output logic [25:0]         total_o,   // sum of 1024 elements at most, two's complement
  output logic [40:0]         squares_o  // sum of as many squares, unsigned
);

  if (Lanes < 1 || Lanes > 256) begin : gen_wrong
    $error("Lanes must be from 1 to 256");
  end

  localparam int unsigned Levels = $clog2(Lanes);
  localparam int unsigned Tree = Levels > 2 ? (Levels + 1) / 2 : 1;  // stages of an adder tree

  logic [Lanes*16-1:0] data_q;
  logic [Lanes*32-1:0] squares_q;
  logic [25:0]         data_sum;
  logic [40:0]         squares_sum;
  logic [Tree:0]       take_q, first_q, last_q;  // the first place beside the squares, the last beside their sum

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic signed [15:0] x;

    assign x = data_i[16*l +: 16];

    always_ff @(posedge clk_i) begin
      if (take_i) begin
        data_q[16*l +: 16]    <= x;
        squares_q[32*l +: 32] <= 32'(x * x);
      end
    end
  end

  lutra_adder_tree #(.Terms(Lanes), .Bits(16), .SumBits(26)) u_data (
    .clk_i, .enable_i(1'b1), .terms_i(data_q), .sum_o(data_sum)
  );
  lutra_adder_tree #(.Terms(Lanes), .Bits(32), .SumBits(41)) u_squares (
    .clk_i, .enable_i(1'b1), .terms_i(squares_q), .sum_o(squares_sum)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      take_q <= '0;
      done_o <= 1'b0;
    end else begin
      take_q <= {take_q[Tree-1:0], take_i};
      done_o <= take_q[Tree] && last_q[Tree];
    end
    first_q <= {first_q[Tree-1:0], first_i};
    last_q  <= {last_q[Tree-1:0], last_i};
    if (take_q[Tree]) begin
      total_o   <= (first_q[Tree] ? '0 : total_o) + data_sum;
      squares_o <= (first_q[Tree] ? '0 : squares_o) + squares_sum;
    end
  end

endmodule
