// Puts rows into the residual stream: of a token and its position, or of the position alone.
//
// Tables lie chunk by chunk, a chunk of all tokens (or positions) beside each other, so that the address of a row's next
// chunk is token_stride_i (position_stride_i) further on.
//
// Timing: start_i in t; a row takes chunks_i + 1 cycles, the first of them, from t + 1 on, that which takes the token.
// done_o is 1 two cycles after the last of them.
module lutra_transformer_embed #(
  parameter int unsigned Lanes = 4,         // values per word
  parameter int unsigned Rows = 8,          // rows of the longest sequence
  parameter int unsigned AddressBits = 24,  // bits of an address
  parameter int unsigned CountBits = 16     // bits of a count
) (
  input  logic                   clk_i,              // clock
  input  logic                   rst_ni,             // synchronous reset, active low
  input  logic                   start_i,            // begin
  input  logic                   tokens_i,           // rows have tokens
  input  logic [CountBits-1:0]   rows_i,             // rows, from 1
  input  logic [CountBits-1:0]   past_i,             // position of the first one
  input  logic [CountBits-1:0]   chunks_i,           // words of a row, from 1
  input  logic [AddressBits-1:0] token_stride_i,     // words from chunk to chunk of the tokens
  input  logic [AddressBits-1:0] position_stride_i,  // and of the positions
  output logic                   done_o,             // the last word is written
  input  logic                   x_valid_i,          // a token is offered
  output logic                   x_ready_o,          // it is taken
  input  logic [15:0]            x_data_i,           // its number
  output logic                   read_o,             // read both tables
  output logic [AddressBits-1:0] token_address_o,    // where
  output logic [AddressBits-1:0] position_address_o,  // where
  input  logic [Lanes*16-1:0]    token_data_i,       // in the next cycle
  input  logic [Lanes*16-1:0]    position_data_i,    // in the next cycle
  output logic                   write_o,            // a word for the residual stream
  output logic [AddressBits-1:0] address_o,          // where
  output logic [Lanes*16-1:0]    data_o              // the word
);

  if (Rows < 1 || CountBits > AddressBits) begin : gen_wrong
    $error("Rows must be at least 1, CountBits at most AddressBits");
  end

  localparam logic [AddressBits-1:0] Distance = AddressBits'(Rows);

  logic                   busy_q, reading_q, taken, last_chunk, last_row;
  logic [CountBits-1:0]   row_q, chunk_q, position;
  logic [AddressBits-1:0] token_q, position_q, address_q;
  logic [2:0]             ends;  // the last word is read, looked up, added
  logic [AddressBits-1:0] looked_up_address;
  logic                   looked_up;
  logic [Lanes*16-1:0]    token;

  assign taken              = busy_q && !reading_q && (x_valid_i || !tokens_i);
  assign x_ready_o          = busy_q && !reading_q && tokens_i;
  assign last_chunk         = chunk_q == chunks_i - 1'b1;
  assign last_row           = row_q == rows_i - 1'b1;
  assign position           = past_i + row_q;
  assign read_o             = reading_q;
  assign token_address_o    = token_q;
  assign position_address_o = position_q;
  assign token              = tokens_i ? token_data_i : '0;
  assign ends[0]            = reading_q && last_chunk && last_row;
  assign done_o             = ends[2];

  lutra_transformer_residual #(.Lanes(Lanes)) u_add (
    .clk_i, .enable_i(1'b1), .x_i(token), .branch_i(position_data_i), .y_o(data_o)
  );

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      busy_q    <= 1'b0;
      reading_q <= 1'b0;
      ends[2:1] <= '0;
      looked_up <= 1'b0;
      write_o   <= 1'b0;
    end else begin
      busy_q    <= start_i || (busy_q && !ends[0]);
      reading_q <= taken || (reading_q && !last_chunk);
      ends[2:1] <= ends[1:0];
      looked_up <= reading_q;
      write_o   <= looked_up;
    end
    if (start_i) begin
      row_q <= '0;
    end else if (reading_q && last_chunk) begin
      row_q <= row_q + 1'b1;
    end
    if (!reading_q) begin
      chunk_q    <= '0;
      token_q    <= AddressBits'(x_data_i);
      position_q <= AddressBits'(position);
      address_q  <= AddressBits'(row_q);
    end else begin
      chunk_q    <= chunk_q + 1'b1;
      token_q    <= token_q + token_stride_i;
      position_q <= position_q + position_stride_i;
      address_q  <= address_q + Distance;
    end
    looked_up_address <= address_q;
    address_o         <= looked_up_address;
  end

endmodule
