// Puts quantised rows where the engine will read them: into the memory of x, or as bit planes into that of keys and values.
//
// A row of queries, keys and values comes as three segments: queries are a row of x; keys and values go to the memory of
// y, plane by plane, the sign first. Keys: a token is a unit of the engine, its elements lie side by side. Values: a
// column of a head is a unit, and eight tokens are a byte of it, which lutra_bat_transpose puts together. Contexts come
// head by head and become rows of x with all heads side by side. Anything else is a row of x.
// What pads the last beat of a row is stored as it comes, beside the row; the engine does not look at it.
//
// Timing: a beat for x takes one cycle, one of keys Bits cycles, one of values Bits for every ValueLanes columns of the
// row that it holds. A write is on the ports in the cycle after; done_o with the last one of the last row.
module lutra_bat_store #(
  parameter int unsigned Lanes = 16,         // codes of a beat; divides Elements
  parameter int unsigned Bits = 4,           // of a code
  parameter int unsigned Elements = 128,     // codes of a word of x, bits of a unit in a word of y
  parameter int unsigned Units = 16,         // units of the engine
  parameter int unsigned HeadWidth = 64,     // codes of a head
  parameter int unsigned XGranule = 16,      // greatest common divisor of Lanes and HeadWidth
  parameter int unsigned ValueLanes = 16,    // greatest common divisor of Lanes, HeadWidth and Units
  parameter int unsigned YGranule = 8,       // bits: greatest common divisor of 8 and Lanes
  parameter bit          Attention = 1,      // keys, values and contexts can come
  parameter int unsigned ValueWords = 96,    // most words of values of a token: heads * groups * Bits
  parameter int unsigned CountBits = 12,     // of counts
  parameter int unsigned AddressBits = 16    // of addresses and strides
) (
  input  logic                              clk_i,                 // clock
  input  logic                              rst_ni,                // synchronous reset, active low
  input  logic                              start_i,               // begin with a first row; not while rows come
  input  logic                              attention_i,           // rows are queries, keys and values; constant, as below
  input  logic                              context_i,             // rows are contexts of one head after the other
  input  logic [CountBits-1:0]              rows_i,                // rows, of contexts those of a head
  input  logic [CountBits-1:0]              heads_i,               // heads of contexts, otherwise 1
  input  logic [CountBits-1:0]              beats_i,               // beats of a row, or of each of the three segments
  input  logic [AddressBits-1:0]            x_base_i,              // first word of x
  input  logic [AddressBits-1:0]            x_row_stride_i,        // words from row to row
  input  logic [AddressBits-1:0]            key_base_i,            // first word of keys
  input  logic [AddressBits-1:0]            key_chunk_stride_i,    // words from one word of elements to the next
  input  logic [AddressBits-1:0]            value_base_i,          // first word of values
  input  logic [AddressBits-1:0]            value_plane_stride_i,  // words from plane to plane
  input  logic [CountBits-1:0]              value_parts_i,         // ValueLanes columns each: how many there are in a row
  input  logic                              valid_i,               // a beat is offered
  output logic                              ready_o,               // it is taken
  input  logic [Lanes*Bits-1:0]             data_i,                // codes
  output logic [Elements/XGranule-1:0]      x_write_o,             // store these parts of a word of x
  output logic [AddressBits-1:0]            x_address_o,           // which word
  output logic [Elements*Bits-1:0]          x_data_o,              // the word
  output logic [Units*Elements/YGranule-1:0] y_write_o,            // store these parts of a word of y
  output logic [AddressBits-1:0]            y_address_o,           // which word
  output logic [Units*Elements-1:0]         y_data_o,              // the word
  output logic                              done_o                 // the last write
);

  localparam int unsigned XPlaces = Elements / XGranule;
  localparam int unsigned BeatPlaces = Lanes / XGranule;
  localparam int unsigned HeadPlaces = HeadWidth < Lanes ? HeadWidth / XGranule : BeatPlaces;
  localparam logic [CountBits-1:0] XPlaceCount = CountBits'(XPlaces);

  if (Elements % Lanes != 0 || Lanes % XGranule != 0 || HeadWidth % XGranule != 0 || Lanes % ValueLanes != 0 ||
      Units % ValueLanes != 0 || HeadWidth % ValueLanes != 0) begin : gen_wrong
    $error("Lanes must divide Elements, and XGranule and ValueLanes what they are divisors of");
  end

  // What the beat is, and whether this is its last cycle.
  logic       beat_last, queries, keys, values, row_end, rows_end, all_end, take;
  logic [1:0] segment_q;
  logic       segment_end;
  logic [CountBits-1:0] beat_q, row_q, head_q;

  assign queries     = !attention_i || segment_q == 2'd0;
  assign keys        = Attention && attention_i && segment_q == 2'd1;
  assign values      = Attention && attention_i && segment_q == 2'd2;
  assign ready_o     = beat_last;
  assign take        = valid_i && beat_last;
  assign segment_end = beat_q == beats_i - 1'b1;
  assign row_end     = segment_end && (!attention_i || segment_q == 2'd2);
  assign rows_end    = row_end && row_q == rows_i - 1'b1;
  assign all_end     = rows_end && head_q == heads_i - 1'b1;

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      {segment_q, beat_q, row_q, head_q} <= '0;
    end else if (take) begin
      beat_q <= segment_end ? '0 : beat_q + 1'b1;
      if (segment_end) begin
        segment_q <= row_end ? '0 : segment_q + 1'b1;
      end
      if (row_end) begin
        row_q <= rows_end ? '0 : row_q + 1'b1;
      end
      if (rows_end) begin
        head_q <= head_q + 1'b1;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    done_o <= rst_ni && take && all_end;
  end

  // Rows of x: a word, and a place in it. A head's contexts begin where those of the head before end.
  logic [AddressBits-1:0] x_row_q, x_word_q, x_head_q, x_next_head;
  logic [CountBits-1:0]   place_q, place_head_q, place, next_place;
  logic                   wraps;

  assign place       = place_q + (context_i ? CountBits'(HeadPlaces) : CountBits'(BeatPlaces));
  assign wraps       = place == XPlaceCount;
  assign next_place  = wraps ? '0 : place;
  assign x_next_head = x_head_q + (x_word_q - x_row_q) + AddressBits'(wraps);

  always_ff @(posedge clk_i) begin
    if (start_i) begin
      x_row_q      <= x_base_i;
      x_word_q     <= x_base_i;
      x_head_q     <= x_base_i;
      place_q      <= '0;
      place_head_q <= '0;
    end else if (take && queries) begin
      if (segment_end && rows_end) begin
        x_row_q      <= x_next_head;
        x_word_q     <= x_next_head;
        x_head_q     <= x_next_head;
        place_q      <= next_place;
        place_head_q <= next_place;
      end else if (segment_end) begin
        x_row_q  <= x_row_q + x_row_stride_i;
        x_word_q <= x_row_q + x_row_stride_i;
        place_q  <= place_head_q;
      end else begin
        x_word_q <= x_word_q + AddressBits'(wraps);
        place_q  <= next_place;
      end
    end
  end

  always_ff @(posedge clk_i) begin
    x_address_o <= x_word_q;
    for (int p = 0; p < XPlaces; p++) begin
      x_write_o[p] <= rst_ni && valid_i && queries && CountBits'(p) >= place_q && CountBits'(p) < place;
    end
  end

  for (genvar i = 0; i < Elements; i++) begin : gen_element
    always_ff @(posedge clk_i) begin
      x_data_o[i*Bits +: Bits] <= context_i ? data_i[(i % Lanes % HeadWidth)*Bits +: Bits]
                                            : data_i[(i % Lanes)*Bits +: Bits];
    end
  end

  if (Attention) begin : gen_attention
    lutra_bat_planes #(
      .Lanes(Lanes),
      .Bits(Bits),
      .Elements(Elements),
      .Units(Units),
      .HeadWidth(HeadWidth),
      .ValueLanes(ValueLanes),
      .YGranule(YGranule),
      .ValueWords(ValueWords),
      .CountBits(CountBits),
      .AddressBits(AddressBits)
    ) u_planes (
      .clk_i(clk_i),
      .rst_ni(rst_ni),
      .start_i(start_i),
      .keys_i(keys),
      .values_i(values),
      .segment_end_i(segment_end),
      .key_base_i(key_base_i),
      .key_chunk_stride_i(key_chunk_stride_i),
      .value_base_i(value_base_i),
      .value_plane_stride_i(value_plane_stride_i),
      .value_parts_i(value_parts_i),
      .valid_i(valid_i),
      .last_o(beat_last),
      .data_i(data_i),
      .write_o(y_write_o),
      .address_o(y_address_o),
      .data_o(y_data_o)
    );
  end else begin : gen_rows_only
    logic unused;

    assign unused      = ^{keys, values, key_base_i, key_chunk_stride_i, value_base_i, value_plane_stride_i, value_parts_i};
    assign beat_last   = 1'b1;
    assign y_write_o   = '0;
    assign y_address_o = '0;
    assign y_data_o    = '0;
  end

endmodule
