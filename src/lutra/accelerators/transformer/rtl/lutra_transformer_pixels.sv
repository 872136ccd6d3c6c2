// Takes rows of pixels from the input stream into the left memory, each pixel less 128.
//
// Timing: start_i in t; a word is taken in every cycle from t + 1 on and written in the same one; done_o is 1 with the
// last.
module lutra_transformer_pixels #(
  parameter int unsigned Size = 4,          // banks, a power of two from 2
  parameter int unsigned Lanes = 4,         // pixels per word
  parameter int unsigned Rows = 8,          // rows of the longest sequence, a multiple of Size
  parameter int unsigned AddressBits = 24,  // bits of an address
  parameter int unsigned CountBits = 16     // bits of a count
) (
  input  logic                    clk_i,          // clock
  input  logic                    rst_ni,         // synchronous reset, active low
  input  logic                    start_i,        // begin
  input  logic [CountBits-1:0]    rows_i,         // rows, from 1
  input  logic [CountBits-1:0]    chunks_i,       // words of a row, from 1
  input  logic [AddressBits-1:0]  destination_i,  // where the first one goes
  output logic                    done_o,         // the last word is written
  input  logic                    x_valid_i,      // a word is offered
  output logic                    x_ready_o,      // it is taken
  input  logic [Lanes*8-1:0]      x_data_i,       // Lanes pixels
  output logic                    write_o,        // a word for the left memory
  output logic [$clog2(Size)-1:0] bank_o,         // in which bank
  output logic [AddressBits-1:0]  address_o,      // where
  output logic [Lanes*8-1:0]      data_o          // the word
);

  if (Size < 2 || (Size & (Size - 1)) != 0 || Rows % Size != 0) begin : gen_wrong
    $error("Size must be a power of two from 2, Rows a multiple of it");
  end

  localparam int unsigned RowBits = $clog2(Size);

  logic                   busy_q, last_chunk;
  logic [CountBits-1:0]   row_q, chunk_q;
  logic [AddressBits-1:0] offset_q;

  assign x_ready_o  = busy_q;
  assign write_o    = busy_q && x_valid_i;
  assign last_chunk = chunk_q == chunks_i - 1'b1;
  assign done_o     = write_o && last_chunk && row_q == rows_i - 1'b1;
  assign bank_o     = row_q[RowBits-1:0];
  assign address_o  = destination_i + offset_q + AddressBits'(row_q >> RowBits);

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    assign data_o[8*l +: 8] = x_data_i[8*l +: 8] ^ 8'h80;
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q <= 1'b0;
    end else begin
      busy_q <= start_i || (busy_q && !done_o);
    end
    if (start_i) begin
      row_q    <= '0;
      chunk_q  <= '0;
      offset_q <= '0;
    end else if (write_o) begin
      chunk_q  <= last_chunk ? '0 : chunk_q + 1'b1;
      offset_q <= last_chunk ? '0 : offset_q + AddressBits'(Rows / Size);
      row_q    <= row_q + CountBits'(last_chunk);
    end
  end

endmodule
