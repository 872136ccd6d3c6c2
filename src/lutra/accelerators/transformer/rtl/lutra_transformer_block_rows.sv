// Takes rows of left operands to a weightless block, and what comes back to the units behind the array.
//
// With follow_i a row is not read before there_i says that it is there.
//
// Timing: start_i in t, first word read in t + 1 and offered in t + 2, then one per cycle while the block takes them and
// rows are there. Results are numbered as they come: they may come in any cycle.
module lutra_transformer_block_rows #(
  parameter int unsigned Size = 4,          // banks of the left memory, a power of two from 2
  parameter int unsigned Rows = 8,          // rows of the longest sequence, a multiple of Size
  parameter int unsigned AddressBits = 24,  // bits of an address
  parameter int unsigned CountBits = 16     // bits of a count
) (
  input  logic                    clk_i,     // clock
  input  logic                    rst_ni,    // synchronous reset, active low
  input  logic                    start_i,   // begin; what follows stays the same until the last result
  input  logic [CountBits-1:0]    rows_i,    // rows, from 1
  input  logic [CountBits-1:0]    chunks_i,  // words of a row, from 1
  input  logic [AddressBits-1:0]  left_i,    // where the first one lies
  input  logic                    follow_i,  // rows come one by one
  input  logic [CountBits-1:0]    there_i,   // so many are there
  output logic                    read_o,    // read a word of left operands
  output logic [AddressBits-1:0]  address_o,  // where
  output logic [$clog2(Size)-1:0] bank_o,    // the bank whose word has been read
  output logic                    valid_o,   // it is offered
  input  logic                    ready_i,   // it is taken
  input  logic                    step_i,    // a word of results is taken
  output logic                    row_last_o,  // the next one is the last one of its row
  output logic                    last_o,    // it is the last one of all
  output logic [CountBits-1:0]    row_o,     // its row
  output logic [CountBits-1:0]    chunk_o,   // its place in the row
  output logic [AddressBits-1:0]  chunk_offset_o  // its chunk times the distance of chunks
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || Rows % Size != 0) begin : gen_wrong
    $error("Size must be a power of two from 2, Rows a multiple of it");
  end

  localparam int unsigned RowBits = $clog2(Size);
  localparam logic [AddressBits-1:0] Distance = AddressBits'(Rows / Size);

  logic                   running_q, there, last_read_chunk, last_chunk;
  logic [CountBits-1:0]   read_row_q, read_chunk_q;
  logic [AddressBits-1:0] read_offset_q;

  assign there           = !follow_i || there_i > read_row_q;
  assign read_o          = running_q && (!valid_o || ready_i) && (read_chunk_q != '0 || there);
  assign address_o       = left_i + read_offset_q + AddressBits'(read_row_q >> RowBits);
  assign last_read_chunk = read_chunk_q == chunks_i - 1'b1;
  assign last_chunk      = chunk_o == chunks_i - 1'b1;
  assign row_last_o      = last_chunk;
  assign last_o          = last_chunk && row_o == rows_i - 1'b1;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      running_q <= 1'b0;
      valid_o   <= 1'b0;
    end else begin
      running_q <= start_i || (running_q && !(read_o && last_read_chunk && read_row_q == rows_i - 1'b1));
      if (!valid_o || ready_i) begin
        valid_o <= read_o;
      end
    end
    if (start_i) begin
      read_row_q     <= '0;
      read_chunk_q   <= '0;
      read_offset_q  <= '0;
      row_o          <= '0;
      chunk_o        <= '0;
      chunk_offset_o <= '0;
    end else begin
      if (read_o) begin
        read_chunk_q  <= last_read_chunk ? '0 : read_chunk_q + 1'b1;
        read_offset_q <= last_read_chunk ? '0 : read_offset_q + Distance;
        read_row_q    <= read_row_q + CountBits'(last_read_chunk);
        bank_o        <= read_row_q[RowBits-1:0];
      end
      if (step_i) begin
        chunk_o        <= last_chunk ? '0 : chunk_o + 1'b1;
        chunk_offset_o <= last_chunk ? '0 : chunk_offset_o + Distance;
        row_o          <= row_o + CountBits'(last_chunk);
      end
    end
  end

endmodule
