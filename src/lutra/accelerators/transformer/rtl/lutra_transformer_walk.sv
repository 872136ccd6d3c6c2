// Says of every beat of results that leaves the array which row and which columns it holds, and where they lie.
//
// Results leave row tile by row tile, in it column tile by column tile, in it row by row, in it in Groups words. A word's
// chunk is its place in the row. Memories lie chunk by chunk, so that chunk_offset_o and tile_offset_o, chunk and column
// tile times the distance Stride, are the rest of an address; they are sums, not products.
//
// Timing: outputs describe the next beat, from the cycle after start_i on; step_i goes on.
module lutra_transformer_walk #(
  parameter int unsigned Size = 4,          // rows and columns of a tile, a power of two from 2
  parameter int unsigned Groups = 1,        // words of a row of a tile, a power of two
  parameter int unsigned Stride = 1,        // distance of chunks in banked memories
  parameter int unsigned AddressBits = 24,  // bits of an address
  parameter int unsigned CountBits = 16     // bits of a count
) (
  input  logic                    clk_i,           // clock
  input  logic                    start_i,         // the next beat is the first of a product
  input  logic [CountBits-1:0]    rows_i,          // rows of the product, from 1
  input  logic [CountBits-1:0]    column_tiles_i,  // tiles side by side, from 1
  input  logic                    step_i,          // a beat is taken
  output logic                    keep_o,          // its row is one of the product's
  output logic                    tile_last_o,     // it is the last one of a row tile
  output logic                    last_o,          // it is the last one
  output logic [CountBits-1:0]    row_o,           // its row
  output logic [CountBits-1:0]    chunk_o,         // its chunk
  output logic [$clog2(Groups)+(Groups == 1 ? 1 : 0)-1:0] group_o,  // its place in the tile's row
  output logic [AddressBits-1:0]  chunk_offset_o,  // chunk * Stride
  output logic [AddressBits-1:0]  tile_offset_o    // column tile * Stride
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || Groups < 1 || (Groups & (Groups - 1)) != 0) begin : gen_wrong
    $error("Size must be a power of two from 2, Groups a power of two");
  end

  localparam int unsigned RowBits = $clog2(Size);
  localparam int unsigned GroupBits = Groups > 1 ? $clog2(Groups) : 1;
  localparam logic [AddressBits-1:0] Distance = AddressBits'(Stride);

  logic [GroupBits-1:0]   group_q;
  logic [CountBits-1:0]   row_q, tile_q, chunk_q, first_chunk_q;
  logic [AddressBits-1:0] chunk_offset_q, first_offset_q, tile_offset_q;
  logic                   last_group, last_row, last_tile;

  assign last_group     = group_q == GroupBits'(Groups - 1);
  assign last_row       = row_q[RowBits-1:0] == '1;
  assign last_tile      = tile_q == column_tiles_i - 1'b1;
  assign keep_o         = row_q < rows_i;
  // A row tile ends with the row that completes it, in the product or beyond.
  assign tile_last_o    = last_group && last_row && last_tile;
  assign last_o         = tile_last_o && row_q >= rows_i - 1'b1;
  assign row_o          = row_q;
  assign chunk_o        = chunk_q;
  assign group_o        = group_q;
  assign chunk_offset_o = chunk_offset_q;
  assign tile_offset_o  = tile_offset_q;

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      group_q        <= '0;
      row_q          <= '0;
      tile_q         <= '0;
      chunk_q        <= '0;
      first_chunk_q  <= '0;
      chunk_offset_q <= '0;
      first_offset_q <= '0;
      tile_offset_q  <= '0;
    end else if (step_i) begin
      group_q <= last_group ? '0 : group_q + 1'b1;
      if (!last_group) begin
        chunk_q        <= chunk_q + 1'b1;
        chunk_offset_q <= chunk_offset_q + Distance;
      end else if (!last_row) begin
        row_q          <= row_q + 1'b1;
        chunk_q        <= first_chunk_q;
        chunk_offset_q <= first_offset_q;
      end else if (!last_tile) begin
        row_q[RowBits-1:0] <= '0;
        tile_q             <= tile_q + 1'b1;
        chunk_q            <= chunk_q + 1'b1;
        first_chunk_q      <= chunk_q + 1'b1;
        chunk_offset_q     <= chunk_offset_q + Distance;
        first_offset_q     <= chunk_offset_q + Distance;
        tile_offset_q      <= tile_offset_q + Distance;
      end else begin
        row_q          <= row_q + 1'b1;
        tile_q         <= '0;
        chunk_q        <= '0;
        first_chunk_q  <= '0;
        chunk_offset_q <= '0;
        first_offset_q <= '0;
        tile_offset_q  <= '0;
      end
    end
  end

endmodule
