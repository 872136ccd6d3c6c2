// Turns a packet of 32-bit words into words of the machine's memories: its load port behind a stream.
//
// A packet is sections, one for each memory at least: the words 1, number of the memory, first address, count, 32-bit
// words that a memory's word takes; then that many words, the lowest first. What does not fit the machine stops it: from
// there on nothing is stored.
//
// Timing: a word per cycle, always taken. A memory's word is stored in the cycle after its last one has come.
module lutra_transformer_loader #(
  parameter int unsigned LoadBits = 303,    // of the load port
  parameter int unsigned AddressBits = 24,  // of an address
  parameter int unsigned Parts = 10,        // 32-bit words of the load port
  parameter logic [8*8-1:0] WordParts = {8{8'd10}},  // 32-bit words of each memory's word, memory 0 lowest
  parameter logic [8*32-1:0] Words = {8{32'd16}}     // words of each memory, memory 0 lowest
) (
  input  logic                   clk_i,      // clock
  input  logic                   rst_ni,     // synchronous reset, active low
  input  logic                   begin_i,    // a packet begins
  input  logic                   valid_i,    // a word has come
  input  logic [31:0]            data_i,     // it
  input  logic                   whole_i,    // all of its bytes have come
  output logic                   good_o,     // what has come is a whole packet
  output logic                   error_o,    // what has come does not fit the machine
  output logic                   load_o,     // store a word
  output logic [2:0]             memory_o,   // in which memory
  output logic [AddressBits-1:0] address_o,  // where
  output logic [LoadBits-1:0]    data_o      // the word, in the lowest bits
);

  if (Parts < 1 || Parts > 255 || 32 * Parts < LoadBits || AddressBits > 31) begin : gen_wrong
    $error("Parts must be 1 to 255 and hold LoadBits, AddressBits at most 31");
  end

  localparam logic [2:0] Command = 3'd0, Memory = 3'd1, First = 3'd2, Count = 3'd3, Size = 3'd4, Contents = 3'd5;

  logic [2:0]           head_q, memory_q;
  logic [31:0]          first_q, count_q;
  logic [7:0]           part_q, parts_q;
  logic [AddressBits-1:0] address_q;
  logic [32*Parts-1:0]  data_q;
  logic [7:0]           seen_q;
  logic                 broken_q, store_q, last_part, last_word, fits;
  logic [31:0]          room;

  assign room      = Words[32*memory_q +: 32];
  assign fits      = data_i == {24'd0, WordParts[8*memory_q +: 8]} && first_q <= room && count_q <= room - first_q;
  assign last_part = part_q == parts_q;
  assign last_word = count_q == 32'd1;

  assign good_o    = head_q == Command && (&seen_q) && !broken_q;
  assign error_o   = broken_q;
  assign load_o    = store_q;
  assign memory_o  = memory_q;
  assign address_o = address_q;
  assign data_o    = data_q[LoadBits-1:0];

  always_ff @(posedge clk_i) begin
    if (!rst_ni || begin_i) begin
      head_q   <= Command;
      seen_q   <= '0;
      broken_q <= 1'b0;
      store_q  <= 1'b0;
    end else begin
      store_q <= valid_i && whole_i && !broken_q && head_q == Contents && last_part;
      if (valid_i && !broken_q) begin
        broken_q <= !whole_i;
        head_q   <= head_q + 1'b1;
        case (head_q)
          Command: if (data_i != 32'd1) broken_q <= 1'b1;
          Memory:  if (data_i > 32'd7) broken_q <= 1'b1;
          First:   ;
          Count:   ;
          Size: begin
            seen_q[memory_q] <= 1'b1;
            if (!fits) broken_q <= 1'b1;
            if (count_q == '0) head_q <= Command;
          end
          default: head_q <= last_part && last_word ? Command : Contents;
        endcase
      end
    end
  end

  always_ff @(posedge clk_i) begin
    if (store_q) begin
      address_q <= address_q + 1'b1;
    end
    if (valid_i) begin
      case (head_q)
        Command: ;
        Memory:  memory_q <= data_i[2:0];
        First:   first_q <= data_i;
        Count:   count_q <= data_i;
        Size: begin
          part_q    <= 8'd1;
          parts_q   <= data_i[7:0];
          address_q <= first_q[AddressBits-1:0];
        end
        default: begin
          part_q <= last_part ? 8'd1 : part_q + 1'b1;
          if (last_part) begin
            count_q <= count_q - 1'b1;
          end
        end
      endcase
    end
  end

  for (genvar p = 0; p < Parts; p++) begin : gen_part
    always_ff @(posedge clk_i) begin
      if (valid_i && head_q == Contents && part_q == 8'(p + 1)) begin
        data_q[32*p +: 32] <= data_i;
      end
    end
  end

  logic unused_bits;
  assign unused_bits = ^{data_q, first_q};

endmodule
