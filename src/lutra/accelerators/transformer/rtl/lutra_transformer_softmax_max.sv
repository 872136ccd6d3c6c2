// First pass of the softmax: the largest score that each row of a tile sees.
//
// With two banks a tile's rows are read while those of the other one are stored.
//
// Timing: a beat per cycle, of any row; max_o counts it from the third cycle after its own on. max_o shows the largest
// score of row_i in the same cycle.
module lutra_transformer_softmax_max #(
  parameter int unsigned Size = 4,    // rows of a tile, a power of two from 2
  parameter int unsigned Lanes = 4,   // scores of a beat, a power of two
  parameter int unsigned Banks = 1,   // tiles whose largest scores are kept, 1 or 2
  parameter int unsigned RowBits = 2  // of a row's number, the tile's above it
) (
  input  logic                clk_i,        // clock
  input  logic                rst_ni,       // synchronous reset, active low
  input  logic [Banks-1:0]    clear_i,      // forget all rows of these tiles
  input  logic                store_i,      // scores_i is a beat
  input  logic [RowBits-1:0]  store_row_i,  // of this row
  input  logic [Lanes-1:0]    visible_i,    // which scores take part
  input  logic [Lanes*16-1:0] scores_i,     // int16
  input  logic                read_i,       // show row_i; no beat of its tile in this cycle and the two before it
  input  logic [RowBits-1:0]  row_i,        // which row
  output logic [15:0]         max_o         // its largest score
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || Lanes < 1 || (Lanes & (Lanes - 1)) != 0 ||
      (Banks != 1 && Banks != 2) || RowBits != $clog2(Banks * Size)) begin : gen_wrong
    $error("Size must be a power of two from 2, RowBits that of all rows, Lanes a power of two, Banks 1 or 2");
  end

  localparam logic signed [15:0] Least = 16'h8000;  // what a hidden score counts as: no row sees none

  logic                store_1_q, store_2_q;
  logic [RowBits-1:0]  row_1_q, row_2_q;
  logic [Lanes*16-1:0] seen_1_q;
  logic [Banks*Size-1:0] started_q;  // rows that have a largest score
  logic signed [15:0]  largest_2_q, so_far;

  (* ram_style = "distributed" *) logic [15:0] maxima [0:Banks*Size-1];

  for (genvar k = Lanes; k > 0; k = k / 2) begin : gen_largest
    logic [16*k-1:0] largest;
    for (genvar l = 0; l < k; l++) begin : gen_lane
      if (k == Lanes) begin : gen_score
        assign largest[16*l +: 16] = seen_1_q[16*l +: 16];
      end else begin : gen_pair
        logic signed [15:0] one, other;
        assign one   = gen_largest[2*k].largest[32*l +: 16];
        assign other = gen_largest[2*k].largest[32*l+16 +: 16];
        assign largest[16*l +: 16] = one > other ? one : other;
      end
    end
  end

  if (Banks == 1) begin : gen_one_port
    logic [RowBits-1:0] row;
    assign row    = read_i ? row_i : row_2_q;
    assign so_far = maxima[row];
    assign max_o  = so_far;
  end else begin : gen_two_ports
    logic unused_read;
    assign unused_read = read_i;
    assign so_far = maxima[row_2_q];
    assign max_o  = maxima[row_i];
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      store_1_q <= 1'b0;
      store_2_q <= 1'b0;
    end else begin
      store_1_q <= store_i;
      store_2_q <= store_1_q;
    end
    if (store_i) begin
      row_1_q <= store_row_i;
      for (int unsigned l = 0; l < Lanes; l++) begin
        seen_1_q[16*l +: 16] <= visible_i[l] ? scores_i[16*l +: 16] : Least;
      end
    end
    if (store_1_q) begin
      row_2_q     <= row_1_q;
      largest_2_q <= gen_largest[1].largest;
    end
    if (store_2_q) begin
      started_q[row_2_q] <= 1'b1;
    end
    for (int unsigned b = 0; b < Banks; b++) begin
      if (clear_i[b]) begin
        started_q[b*Size +: Size] <= '0;
      end
    end
    if (store_2_q && (!started_q[row_2_q] || largest_2_q > so_far)) begin
      maxima[row_2_q] <= largest_2_q;
    end
  end

endmodule
