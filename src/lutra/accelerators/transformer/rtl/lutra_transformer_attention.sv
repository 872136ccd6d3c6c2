// Walks the heads and row tiles of an attention: scores, softmax, context, one after the other.
//
// A row tile of a causal attention meets the keys up to its last row's own and no others. What a product and the softmax
// need for the present head and tile stands at the outputs until its end.
//
// Timing: start_i in t; a tile's first product starts in t + 1, or in the cycle behind the product before. Between the
// end of a product or of the softmax and the start of what follows inside a tile lie 2 cycles. done_o is 1 with the end
// of the last product.
module lutra_transformer_attention #(
  parameter int unsigned Size = 4,          // rows of the array, a power of two from 2
  parameter int unsigned Lanes = 4,         // values per word, a power of two up to Size
  parameter int unsigned Rows = 8,          // rows of the longest sequence, a multiple of Size
  parameter int unsigned AddressBits = 24,  // bits of an address
  parameter int unsigned CountBits = 16     // bits of a count
) (
  input  logic                   clk_i,           // clock
  input  logic                   rst_ni,          // synchronous reset, active low
  input  logic                   start_i,         // begin
  input  logic                   causal_i,        // a row sees the keys up to its own
  input  logic [CountBits-1:0]   heads_i,         // heads, from 1
  input  logic [CountBits-1:0]   head_tiles_i,    // column tiles of a head, from 1
  input  logic [CountBits-1:0]   head_width_i,    // columns of a head, from 1
  input  logic [CountBits-1:0]   rows_i,          // queries, from 1
  input  logic [CountBits-1:0]   past_i,          // keys before the first query's, where causal
  input  logic [CountBits-1:0]   keys_i,          // all keys
  input  logic [AddressBits-1:0] queries_i,       // where queries begin
  input  logic [AddressBits-1:0] keys_base_i,     // where keys begin
  input  logic [AddressBits-1:0] values_base_i,   // where values begin
  input  logic [AddressBits-1:0] context_i,       // where results begin
  output logic                   busy_o,          // a head or a tile is under way
  output logic                   done_o,          // the last result is written
  output logic                   scores_o,        // the product is that of scores, not of the context
  output logic                   product_start_o,  // start a product
  input  logic                   product_done_i,  // it is over
  output logic                   softmax_clear_o,  // forget the tile before
  output logic                   softmax_start_o,  // give exponentials
  input  logic                   softmax_done_i,  // they are stored
  output logic [CountBits-1:0]   tile_rows_o,     // queries of this tile
  output logic [CountBits-1:0]   first_limit_o,   // keys that its first query sees
  output logic [CountBits-1:0]   tile_keys_o,     // keys that its last one sees
  output logic [CountBits-1:0]   inner_o,         // of the product: terms of a sum,
  output logic [CountBits-1:0]   column_tiles_o,  // tiles,
  output logic [AddressBits-1:0] left_o,          // left operands,
  output logic [AddressBits-1:0] right_o,         // right operands,
  output logic [AddressBits-1:0] destination_o    // and results
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || Rows % Size != 0) begin : gen_wrong
    $error("Size must be a power of two from 2, Rows a multiple of it");
  end

  localparam int unsigned RowBits = $clog2(Size);
  localparam int unsigned LaneBits = $clog2(Lanes);
  localparam int unsigned GroupBits = RowBits - LaneBits;
  localparam logic [AddressBits-1:0] RowTiles = AddressBits'(Rows / Size);
  localparam logic [CountBits-1:0]   TileRows = CountBits'(Size);

  typedef enum logic [2:0] {Idle, Scoring, Scores, Settle, Softmax, Settled, Context} state_e;
  state_e state_q, state_d;

  logic                   last_tile, last_head, tile_done;
  logic [CountBits-1:0]   head_q, row_q, left_rows;
  logic [AddressBits-1:0] head_offset_q, value_offset_q, tile_q, head_stride, value_stride;
  logic                   fresh_q;  // the first cycle of a state

  assign left_rows     = rows_i - row_q;
  assign last_tile     = left_rows <= TileRows;
  assign last_head     = head_q == heads_i - 1'b1;
  assign tile_rows_o   = last_tile ? left_rows : TileRows;
  assign first_limit_o = causal_i ? past_i + row_q + 1'b1 : keys_i;
  assign tile_keys_o   = causal_i ? past_i + row_q + tile_rows_o : keys_i;
  // A head's columns are head_tiles * Size / Lanes chunks, each RowTiles words from the next.
  assign value_stride  = AddressBits'(head_tiles_i) * RowTiles;
  assign head_stride   = value_stride << GroupBits;

  always_comb begin
    state_d = state_q;
    unique case (state_q)
      Idle:    if (start_i) state_d = Scoring;
      Scoring: state_d = Scores;
      Scores:  if (product_done_i) state_d = Settle;
      Settle:  state_d = Softmax;
      Softmax: if (softmax_done_i) state_d = Settled;
      Settled: state_d = Context;
      default: if (product_done_i) state_d = last_tile && last_head ? Idle : Scoring;
    endcase
  end

  assign busy_o          = state_q != Idle;
  assign tile_done       = state_q == Context && product_done_i;
  assign done_o          = tile_done && last_tile && last_head;
  assign scores_o        = state_q == Scoring || state_q == Scores;
  assign product_start_o = state_q == Scoring || (state_q == Context && fresh_q);
  assign softmax_clear_o = state_q == Scoring;
  assign softmax_start_o = state_q == Softmax && fresh_q;

  assign inner_o        = scores_o ? head_width_i : tile_keys_o;
  assign column_tiles_o = scores_o ? ((tile_keys_o - 1'b1) >> RowBits) + 1'b1 : head_tiles_i;
  assign left_o         = scores_o ? queries_i + head_offset_q + tile_q : '0;
  assign right_o        = scores_o ? keys_base_i + head_offset_q : values_base_i + (value_offset_q << RowBits);
  assign destination_o  = context_i + head_offset_q + tile_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      state_q <= Idle;
      fresh_q <= 1'b0;
    end else begin
      state_q <= state_d;
      fresh_q <= state_d != state_q;
    end
    if (state_q == Idle) begin
      head_q         <= '0;
      row_q          <= '0;
      tile_q         <= '0;
      head_offset_q  <= '0;
      value_offset_q <= '0;
    end else if (tile_done) begin
      row_q  <= last_tile ? '0 : row_q + TileRows;
      tile_q <= last_tile ? '0 : tile_q + 1'b1;
      if (last_tile) begin
        head_q         <= head_q + 1'b1;
        head_offset_q  <= head_offset_q + head_stride;
        value_offset_q <= value_offset_q + value_stride;
      end
    end
  end

endmodule
