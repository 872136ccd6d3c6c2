// The quantisation unit of a module with its biases and tables, and the store of its codes.
//
// Rows come from the vector unit, the softmax, the layer norm or memory. Codes go to one of three places: this module's
// inputs, those of the other module, or what this block computes on the way; keys and values to their bit planes.
//
// Timing: see lutra_bat_quantise, lutra_bat_store and lutra_bat_gearbox.
module lutra_bat_encode #(
  parameter int unsigned VectorLanes = 4,    // of a beat from the vector unit
  parameter int unsigned Lanes = 4,          // of the quantisation unit
  parameter int unsigned Bits = 4,           // of a code
  parameter bit          Scale = 0,          // see lutra_bat_quantise
  parameter int unsigned BeatBits = 5,       // of beats of a row, or of biases of all heads
  parameter int unsigned Elements = 32,      // codes of a word of x
  parameter int unsigned Units = 4,          // units of the engine
  parameter int unsigned HeadWidth = 16,     // of a head
  parameter bit          Attention = 1,      // keys, values and contexts can come
  parameter int unsigned XGranule = 4,       // see lutra_bat_store
  parameter int unsigned ValueLanes = 4,     // see lutra_bat_store
  parameter int unsigned YGranule = 4,       // see lutra_bat_store
  parameter int unsigned ValueWords = 8,     // see lutra_bat_store
  parameter int unsigned NumberGranule = 4,  // greatest common divisor of VectorLanes and Lanes, of 8 and Lanes
  parameter int unsigned FirstGranule = 4,
  parameter int unsigned NumberBlocks = 1,   // blocks of a row, see lutra_bat_gearbox
  parameter int unsigned FirstBlocks = 1,
  parameter int unsigned NumberStep = 1,     // see OutStep of lutra_bat_gearbox
  parameter int unsigned PartBits = 8        // of the number of a beat in a word
) (
  input  logic                               clk_i,                  // clock
  input  logic                               rst_ni,                 // synchronous reset, active low
  input  logic                               start_i,                // the step of step_i starts
  input  logic                               bank_i,                 // its bank
  input  logic [1023:0]                      step_i,                 // its instruction
  input  logic                               load_bias_i,            // write a part of a word of biases
  input  logic                               load_table_i,           // write a part of the tables
  input  logic                               load_bank_i,            // into this bank
  input  logic [15:0]                        load_word_i,            // word
  input  logic [PartBits-1:0]                load_part_i,            // its 128 bits
  input  logic [127:0]                       load_data_i,            // what is written
  input  logic                               numbers_valid_i,        // a beat from the vector unit is offered
  output logic                               numbers_ready_o,        // it is taken
  input  logic [VectorLanes*16-1:0]          numbers_data_i,         // binary16 numbers
  input  logic                               probabilities_valid_i,  // a beat from the softmax is offered
  input  logic [Lanes*16-1:0]                probabilities_data_i,   // binary16 numbers
  input  logic                               normed_valid_i,         // a beat from the layer norm is offered
  input  logic [Lanes*16-1:0]                normed_data_i,          // binary16 numbers
  output logic                               ready_o,                // the beat from softmax or layer norm is taken
  input  logic                               first_valid_i,          // a beat from memory is offered
  output logic                               first_ready_o,          // it is taken
  input  logic [127:0]                       first_data_i,           // eight binary16 numbers
  output logic [Elements/XGranule-1:0]       x_write_o,              // write these parts of a word of x
  output logic [15:0]                        x_address_o,            // which word
  output logic [Elements*Bits-1:0]           x_data_o,               // the word
  output logic [Units*Elements/YGranule-1:0] plane_write_o,          // write these parts of a word of keys or values
  output logic [15:0]                        plane_address_o,        // which word
  output logic [Units*Elements-1:0]          plane_data_o,           // the word
  output logic                               done_o,                 // the last write
  output logic                               error_o                 // since the reset a number left the range
);

  localparam int unsigned CountBits = 14;
  localparam int unsigned AddressBits = 16;
  localparam int unsigned LaneBits = 9;
  localparam int unsigned TableBits = Scale ? 16 : (2 ** Bits - 1) * 16;
  localparam int unsigned TableBeats = (3 * TableBits + 127) / 128;

  // Fields of the instruction.
  logic                   attention, context_step, use_softmax, use_norm, from_memory, signed_codes, use_bias;
  logic [CountBits-1:0]   rows, vector_beats, segments, beats, stride, offset, row_beats, store_rows, store_heads;
  logic [CountBits-1:0]   value_parts;
  logic [LaneBits-1:0]    last_lanes;
  logic [AddressBits-1:0] store_base, store_row_stride, key_base, key_chunk_stride, value_base, value_plane_stride;

  assign attention          = step_i[1];
  assign context_step       = step_i[3];
  assign use_softmax        = step_i[4];
  assign use_norm           = step_i[5];
  assign from_memory        = step_i[8];
  assign signed_codes       = step_i[11];
  assign use_bias           = step_i[14];
  assign rows               = step_i[2*16 +: CountBits];
  assign vector_beats       = step_i[18*16 +: CountBits];
  assign segments           = step_i[20*16 +: CountBits];
  assign beats              = step_i[21*16 +: CountBits];
  assign last_lanes         = step_i[22*16 +: LaneBits];
  assign stride             = step_i[23*16 +: CountBits];
  assign offset             = step_i[24*16 +: CountBits];
  assign store_base         = step_i[32*16 +: AddressBits];
  assign store_row_stride   = step_i[33*16 +: AddressBits];
  assign store_heads        = step_i[34*16 +: CountBits];
  assign key_base           = step_i[35*16 +: AddressBits];
  assign key_chunk_stride   = step_i[36*16 +: AddressBits];
  assign value_base         = step_i[37*16 +: AddressBits];
  assign value_plane_stride = step_i[38*16 +: AddressBits];
  assign value_parts        = step_i[39*16 +: CountBits];
  assign row_beats          = step_i[40*16 +: CountBits];
  assign store_rows         = step_i[41*16 +: CountBits];

  logic                numbers_valid, first_valid, valid;
  logic [Lanes*16-1:0] numbers, first, data;

  lutra_bat_gearbox #(
    .InLanes(VectorLanes), .OutLanes(Lanes), .Bits(16), .Granule(NumberGranule), .Blocks(NumberBlocks),
    .OutStep(NumberStep), .CountBits(CountBits)
  ) u_numbers (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(vector_beats), .in_stride_i('0),
    .out_segments_i(segments[1:0]), .out_beats_i(beats), .out_stride_i(stride), .out_offset_i(offset),
    .valid_i(numbers_valid_i), .ready_o(numbers_ready_o), .data_i(numbers_data_i),
    .valid_o(numbers_valid), .ready_i(ready_o), .data_o(numbers)
  );
  lutra_bat_gearbox #(
    .InLanes(8), .OutLanes(Lanes), .Bits(16), .Granule(FirstGranule), .Blocks(FirstBlocks),
    .OutStep(Lanes / FirstGranule), .CountBits(CountBits)
  ) u_first (
    .clk_i, .rst_ni, .in_segments_i(2'd1), .in_beats_i(row_beats), .in_stride_i('0),
    .out_segments_i(2'd1), .out_beats_i(beats), .out_stride_i('0), .out_offset_i('0),
    .valid_i(first_valid_i), .ready_o(first_ready_o), .data_i(first_data_i),
    .valid_o(first_valid), .ready_i(ready_o), .data_o(first)
  );

  always_comb begin
    if (from_memory) begin
      valid = first_valid;
      data  = first;
    end else if (use_norm) begin
      valid = normed_valid_i;
      data  = normed_data_i;
    end else if (use_softmax) begin
      valid = probabilities_valid_i;
      data  = probabilities_data_i;
    end else begin
      valid = numbers_valid;
      data  = numbers;
    end
  end

  // Tables are registers.
  logic [TableBeats*128-1:0] table_0_q, table_1_q, tables;
  logic [BeatBits-1:0]       bias_address;
  logic [Lanes*16-1:0]       bias;
  logic [Lanes*Bits-1:0]     codes;
  logic                      codes_valid, codes_ready;

  for (genvar t = 0; t < TableBeats; t++) begin : gen_table
    always_ff @(posedge clk_i) begin
      if (load_table_i && !load_bank_i && load_part_i == PartBits'(t)) begin
        table_0_q[t*128 +: 128] <= load_data_i;
      end
      if (load_table_i && load_bank_i && load_part_i == PartBits'(t)) begin
        table_1_q[t*128 +: 128] <= load_data_i;
      end
    end
  end

  assign tables = bank_i ? table_1_q : table_0_q;

  lutra_bat_parameters #(.Bits(Lanes * 16), .AddressBits(BeatBits), .PartBits(PartBits)) u_biases (
    .clk_i, .write_i(load_bias_i), .write_bank_i(load_bank_i), .write_address_i(load_word_i[BeatBits-1:0]),
    .part_i(load_part_i), .data_i(load_data_i), .read_bank_i(bank_i), .read_address_i(bias_address), .data_o(bias)
  );

  lutra_bat_quantise #(
    .Lanes(Lanes), .Bits(Bits), .Scale(Scale), .BeatBits(BeatBits), .RowBits(CountBits), .LaneBits(LaneBits)
  ) u_quantise (
    .clk_i,
    .rst_ni,
    .start_i,
    .by_head_i(context_step),
    .rows_i(rows),
    .segments_i(segments[1:0]),
    .beats_i(beats[BeatBits-1:0]),
    .last_lanes_i(last_lanes),
    .signed_i(signed_codes),
    .use_bias_i(use_bias),
    .tables_i(tables[3*TableBits-1:0]),
    .bias_address_o(bias_address),
    .bias_i(bias),
    .valid_i(valid),
    .ready_o,
    .data_i(data),
    .valid_o(codes_valid),
    .ready_i(codes_ready),
    .codes_o(codes),
    .error_o
  );

  lutra_bat_store #(
    .Lanes(Lanes),
    .Bits(Bits),
    .Elements(Elements),
    .Units(Units),
    .HeadWidth(HeadWidth),
    .XGranule(XGranule),
    .ValueLanes(ValueLanes),
    .YGranule(YGranule),
    .Attention(Attention),
    .ValueWords(ValueWords),
    .CountBits(CountBits),
    .AddressBits(AddressBits)
  ) u_store (
    .clk_i,
    .rst_ni,
    .start_i,
    .attention_i(attention),
    .context_i(context_step),
    .rows_i(store_rows),
    .heads_i(store_heads),
    .beats_i(beats),
    .x_base_i(store_base),
    .x_row_stride_i(store_row_stride),
    .key_base_i(key_base),
    .key_chunk_stride_i(key_chunk_stride),
    .value_base_i(value_base),
    .value_plane_stride_i(value_plane_stride),
    .value_parts_i(value_parts),
    .valid_i(codes_valid),
    .ready_o(codes_ready),
    .data_i(codes),
    .x_write_o,
    .x_address_o,
    .x_data_o,
    .y_write_o(plane_write_o),
    .y_address_o(plane_address_o),
    .y_data_o(plane_data_o),
    .done_o
  );

  logic unused;

  assign unused = ^{step_i, load_word_i, segments, beats, tables};

endmodule
