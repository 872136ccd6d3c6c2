// Where an attention is: in which row tile of which head, and what belongs to it.
//
// Row tiles of a head come one after the other, then those of the next head. A row tile of a causal attention meets the
// keys up to its last row's own and no others.
//
// Timing: outputs are combinational, of the present row tile. clear_i goes back to the first one, next_i to the next.
module lutra_transformer_tile #(
  parameter int unsigned Size = 4,          // rows of the array, a power of two from 2
  parameter int unsigned Lanes = 4,         // values per word, a power of two up to Size
  parameter int unsigned Rows = 8,          // rows of the longest sequence, a multiple of Size
  parameter int unsigned AddressBits = 24,  // bits of an address
  parameter int unsigned CountBits = 16     // bits of a count
) (
  input  logic                   clk_i,           // clock
  input  logic                   clear_i,         // to the first row tile of the first head
  input  logic                   next_i,          // to the next one
  input  logic                   causal_i,        // a row sees the keys up to its own
  input  logic [CountBits-1:0]   heads_i,         // heads, from 1
  input  logic [CountBits-1:0]   head_tiles_i,    // column tiles of a head, from 1
  input  logic [CountBits-1:0]   rows_i,          // queries, from 1
  input  logic [CountBits-1:0]   past_i,          // keys before the first query's, where causal
  input  logic [CountBits-1:0]   keys_i,          // all keys
  output logic                   last_o,          // it is the last one
  output logic [CountBits-1:0]   rows_o,          // queries of this row tile
  output logic [CountBits-1:0]   first_limit_o,   // keys that its first query sees
  output logic [CountBits-1:0]   keys_o,          // keys that its last one sees
  output logic [AddressBits-1:0] offset_o,        // words from the head's and the row tile's first to those of all
  output logic [AddressBits-1:0] head_offset_o,   // the head's part of them
  output logic [AddressBits-1:0] value_offset_o   // words of values before this head's
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || Rows % Size != 0) begin : gen_wrong
    $error("Size must be a power of two from 2, Rows a multiple of it");
  end

  localparam int unsigned RowBits = $clog2(Size);
  localparam int unsigned GroupBits = RowBits - $clog2(Lanes);
  localparam logic [AddressBits-1:0] RowTiles = AddressBits'(Rows / Size);
  localparam logic [CountBits-1:0]   TileRows = CountBits'(Size);

  logic                   last_tile, last_head;
  logic [CountBits-1:0]   left_rows, row_q, head_q;
  logic [AddressBits-1:0] tile_q, head_offset_q, value_offset_q, head_stride, value_stride;

  assign left_rows      = rows_i - row_q;
  assign last_tile      = left_rows <= TileRows;
  assign last_head      = head_q == heads_i - 1'b1;
  assign last_o         = last_tile && last_head;
  assign rows_o         = last_tile ? left_rows : TileRows;
  assign first_limit_o  = causal_i ? past_i + row_q + 1'b1 : keys_i;
  assign keys_o         = causal_i ? past_i + row_q + rows_o : keys_i;
  assign offset_o       = head_offset_q + tile_q;
  assign head_offset_o  = head_offset_q;
  assign value_offset_o = value_offset_q << RowBits;
  // A head's columns are head_tiles * Size / Lanes chunks, each RowTiles words from the next.
  assign value_stride   = AddressBits'(head_tiles_i) * RowTiles;
  assign head_stride    = value_stride << GroupBits;

  always_ff @(posedge clk_i) begin
    if (clear_i) begin
      head_q         <= '0;
      row_q          <= '0;
      tile_q         <= '0;
      head_offset_q  <= '0;
      value_offset_q <= '0;
    end else if (next_i) begin
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
