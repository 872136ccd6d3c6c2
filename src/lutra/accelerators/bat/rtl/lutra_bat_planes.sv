// Writes rows of keys and values as bit planes into the memory of y (see lutra_bat_store).
//
// Timing: a beat of keys takes Bits cycles, one of values Bits for every ValueLanes columns of the row that it holds; any
// other beat one cycle. A write is on the ports in the cycle after.
module lutra_bat_planes #(
  parameter int unsigned Lanes = 16,         // codes of a beat; divides Elements
  parameter int unsigned Bits = 4,           // of a code
  parameter int unsigned Elements = 128,     // bits of a unit in a word of y
  parameter int unsigned Units = 16,         // units of the engine
  parameter int unsigned HeadWidth = 64,     // codes of a head
  parameter int unsigned ValueLanes = 16,    // greatest common divisor of Lanes, HeadWidth and Units
  parameter int unsigned YGranule = 8,       // bits: greatest common divisor of 8 and Lanes
  parameter int unsigned ValueWords = 96,    // most words of values of a token: heads * groups * Bits
  parameter int unsigned CountBits = 12,     // of counts
  parameter int unsigned AddressBits = 16    // of addresses and strides
) (
  input  logic                               clk_i,                 // clock
  input  logic                               rst_ni,                // synchronous reset, active low
  input  logic                               start_i,               // begin with the first token
  input  logic                               keys_i,                // the beat is of keys
  input  logic                               values_i,              // the beat is of values
  input  logic                               segment_end_i,         // it is the last one of the token
  input  logic [AddressBits-1:0]             key_base_i,            // first word of keys
  input  logic [AddressBits-1:0]             key_chunk_stride_i,    // words from one word of elements to the next
  input  logic [AddressBits-1:0]             value_base_i,          // first word of values
  input  logic [AddressBits-1:0]             value_plane_stride_i,  // words from plane to plane
  input  logic [CountBits-1:0]               value_parts_i,         // ValueLanes columns each: how many of a token
  input  logic                               valid_i,               // a beat is offered
  output logic                               last_o,                // this is its last cycle
  input  logic [Lanes*Bits-1:0]              data_i,                // codes
  output logic [Units*Elements/YGranule-1:0] write_o,               // store these parts of a word
  output logic [AddressBits-1:0]             address_o,             // which word
  output logic [Units*Elements-1:0]          data_o                 // the word
);

  localparam int unsigned BeatParts = Lanes / ValueLanes;
  localparam int unsigned UnitParts = Units / ValueLanes;
  localparam int unsigned PartBits = UnitParts > 1 ? $clog2(UnitParts) : 1;
  localparam int unsigned WordBits = ValueWords > 1 ? $clog2(ValueWords) : 1;
  localparam int unsigned UnitGranules = Elements / YGranule;
  localparam int unsigned ByteGranules = 8 / YGranule;
  localparam logic [CountBits-1:0] LastUnit = CountBits'(Units - 1);
  localparam logic [CountBits-1:0] LastPlane = CountBits'(Bits - 1);
  localparam logic [CountBits-1:0] LastPart = CountBits'(BeatParts - 1);
  localparam logic [CountBits-1:0] HeadParts = CountBits'(HeadWidth / ValueLanes);
  localparam logic [CountBits-1:0] Places = CountBits'(Elements / Lanes);
  localparam logic [CountBits-1:0] Octets = CountBits'(Elements / 8);

  logic                 write, step_last, last_plane, token_end;
  logic [CountBits-1:0] plane_q;

  assign write      = valid_i && (keys_i || values_i);
  assign last_plane = plane_q == LastPlane;
  assign token_end  = write && last_o && segment_end_i;

  // Keys: the token's unit and group, the place in a word.
  logic [CountBits-1:0]   unit_q, place_q;
  logic [AddressBits-1:0] key_group_q, key_q;
  logic                   key_wraps;

  assign key_wraps = place_q == Places - 1'b1;

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      plane_q     <= '0;
      unit_q      <= '0;
      place_q     <= '0;
      key_group_q <= key_base_i;
      key_q       <= key_base_i;
    end else if (write) begin
      plane_q <= last_plane ? '0 : plane_q + 1'b1;
      if (keys_i && token_end) begin
        unit_q  <= unit_q == LastUnit ? '0 : unit_q + 1'b1;
        place_q <= '0;
        if (unit_q == LastUnit) begin
          key_group_q <= key_group_q + AddressBits'(Bits);
        end
        key_q <= key_group_q + (unit_q == LastUnit ? AddressBits'(Bits) : '0);
      end else if (keys_i && last_o) begin
        place_q <= key_wraps ? '0 : place_q + 1'b1;
        key_q   <= key_wraps ? key_q + key_chunk_stride_i : key_q;
      end
    end
  end

  // Values: the part of the beat, of its head, and of the units; the word of the part; the token's place in its byte,
  // the byte's place in a word.
  logic [CountBits-1:0]   part_q, parts_q, head_part_q, unit_part_q, octet_q;
  logic [AddressBits-1:0] value_token_q, value_group_q, value_q, next_token;
  logic [WordBits-1:0]    word_q, word_group_q;
  logic [2:0]             token_q;
  logic                   parts_end, head_end, group_end;

  assign parts_end = parts_q == value_parts_i - 1'b1;
  assign head_end  = head_part_q == HeadParts - 1'b1;
  assign group_end = head_end || unit_part_q == CountBits'(UnitParts - 1);
  assign step_last = part_q == LastPart || parts_end;
  assign last_o    = !write || (last_plane && (keys_i || step_last));
  // A token goes to the next word when it is the first of its word.
  assign next_token = value_token_q + AddressBits'(token_q == 3'd7 && octet_q == Octets - 1'b1);

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      {part_q, parts_q, head_part_q, unit_part_q, octet_q, token_q, word_q, word_group_q} <= '0;
      value_token_q <= value_base_i;
      value_group_q <= value_base_i;
      value_q       <= value_base_i;
    end else if (write && values_i && token_end) begin
      {part_q, parts_q, head_part_q, unit_part_q, word_q, word_group_q} <= '0;
      token_q       <= token_q + 1'b1;
      octet_q       <= token_q != 3'd7 ? octet_q : octet_q == Octets - 1'b1 ? '0 : octet_q + 1'b1;
      value_token_q <= next_token;
      value_group_q <= next_token;
      value_q       <= next_token;
    end else if (write && values_i && last_plane) begin
      part_q      <= step_last ? '0 : part_q + 1'b1;
      parts_q     <= parts_q + 1'b1;
      head_part_q <= head_end ? '0 : head_part_q + 1'b1;
      unit_part_q <= group_end ? '0 : unit_part_q + 1'b1;
      value_q     <= group_end ? value_q + value_plane_stride_i : value_group_q;
      word_q      <= group_end ? word_q + 1'b1 : word_group_q;
      if (group_end) begin
        value_group_q <= value_q + value_plane_stride_i;
        word_group_q  <= word_q + 1'b1;
      end
    end else if (write && values_i) begin
      value_q <= value_q + value_plane_stride_i;
      word_q  <= word_q + 1'b1;
    end
  end

  // The plane's bits of the beat, and those of the part.
  logic [Lanes-1:0]        bits;
  logic [ValueLanes-1:0]   part_bits;
  logic [8*ValueLanes-1:0] octets;

  always_comb begin
    bits = '0;
    for (int b = 0; b < Bits; b++) begin
      if (plane_q == CountBits'(b)) begin
        for (int i = 0; i < Lanes; i++) begin
          bits[i] = data_i[i*Bits + Bits - 1 - b];
        end
      end
    end
    part_bits = '0;
    for (int p = 0; p < BeatParts; p++) begin
      if (part_q == CountBits'(p)) begin
        part_bits = bits[p*ValueLanes +: ValueLanes];
      end
    end
  end

  lutra_bat_transpose #(
    .Parts(UnitParts),
    .Lanes(ValueLanes),
    .Words(ValueWords),
    .AddressBits(WordBits),
    .PartBits(PartBits)
  ) u_transpose (
    .clk_i(clk_i),
    .write_i(write && values_i),
    .token_i(token_q),
    .address_i(word_q),
    .part_i(unit_part_q[PartBits-1:0]),
    .bits_i(part_bits),
    .bytes_o(octets)
  );

  always_ff @(posedge clk_i) begin
    address_o <= keys_i ? key_q + AddressBits'(plane_q) : value_q;
  end

  for (genvar u = 0; u < Units; u++) begin : gen_unit
    localparam logic [CountBits-1:0] Unit = CountBits'(u);
    localparam logic [CountBits-1:0] Part = CountBits'(u / ValueLanes);

    for (genvar g = 0; g < UnitGranules; g++) begin : gen_granule
      localparam logic [CountBits-1:0] Place = CountBits'(g * YGranule / Lanes);
      localparam logic [CountBits-1:0] Octet = CountBits'(g / ByteGranules);

      always_ff @(posedge clk_i) begin
        write_o[u*UnitGranules + g] <= rst_ni && valid_i &&
          ((keys_i && unit_q == Unit && place_q == Place) || (values_i && unit_part_q == Part && octet_q == Octet));
      end
    end

    for (genvar i = 0; i < Elements; i++) begin : gen_bit
      always_ff @(posedge clk_i) begin
        data_o[u*Elements + i] <= keys_i ? bits[i % Lanes] : octets[(u % ValueLanes)*8 + i % 8];
      end
    end
  end

endmodule
