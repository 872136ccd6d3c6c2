// One half of BAT: engine, vector unit, softmax, layer norm and quantisation unit with their memories, and a controller
// that walks through a program of steps (isa.md).
//
// In a step rows flow through a chain of units that the instruction chooses; between two units stands a buffer of whole
// rows. Codes stay on the chip: keys and values, what a block computes, and the inputs of blocks, which the other module
// may write. binary16 rows come from memory and go there.
//
// Timing: a step starts in the cycle after the step before is done and its bank is loaded. It is done when its last codes
// are being written and its last row has reached memory. schedule.py says how long that takes.
module lutra_bat_module #(
  parameter int unsigned Units = 4,             // dot product units of the engine
  parameter int unsigned Elements = 32,         // products of a unit per cycle
  parameter int unsigned Bits = 4,              // of a code
  parameter int unsigned SumBits = 14,          // of a sum
  parameter int unsigned Sums = 0,              // how units add (lutra_bat_dpu)
  parameter int unsigned HeadWidth = 16,        // of a head
  parameter bit          Attention = 1,         // runs attention, and not only feed-forward blocks
  parameter int unsigned VectorLanes = 4,       // of the vector unit
  parameter int unsigned QuantiseLanes = 4,     // of the quantisation unit
  parameter int unsigned NormLanes = 2,         // of the layer norm
  parameter int unsigned SoftmaxLanes = 4,      // of the softmax
  parameter bit          Scale = 0,             // the quantisation unit multiplies
  parameter int unsigned VectorBeatBits = 5,    // of beats of a row of the vector unit
  parameter int unsigned QuantiseBeatBits = 5,  // of the quantisation unit
  parameter int unsigned NormBeatBits = 6,      // of the layer norm
  parameter int unsigned SoftmaxBeatBits = 5,   // of the softmax
  parameter int unsigned FactorBits = 6,        // of addresses of factors
  parameter int unsigned NormFifoBits = 7,      // see lutra_bat_norm
  parameter int unsigned WidthBits = 7,         // log2 of the widest row of a layer norm
  parameter int unsigned SoftmaxFifoBits = 6,   // see lutra_bat_softmax
  parameter int unsigned TokenBits = 5,         // log2 of the longest row of a softmax
  parameter int unsigned InputWords = 64,       // words of the inputs of blocks
  parameter int unsigned WorkWords = 64,        // words of what blocks compute
  parameter int unsigned WeightWords = 64,      // words of a bank of weights
  parameter int unsigned PlaneWords = 64,       // words of keys and values
  parameter int unsigned XGranule = 4,          // see lutra_bat_store
  parameter int unsigned PeerGranule = 4,       // XGranule of the other module
  parameter int unsigned InputGranule = 4,      // greatest common divisor of both
  parameter int unsigned ValueLanes = 4,        // see lutra_bat_store
  parameter int unsigned YGranule = 4,          // see lutra_bat_store
  parameter int unsigned ValueWords = 8,        // see lutra_bat_store
  parameter int unsigned SumBlocks = 1,         // blocks of a row, see lutra_bat_gearbox: from engine to vector unit,
  parameter int unsigned NumberBlocks = 1,      // vector unit to quantisation unit,
  parameter int unsigned NumberStep = 1,        // (its OutStep,)
  parameter int unsigned ScoreBlocks = 1,       // vector unit to softmax,
  parameter int unsigned ProbabilityBlocks = 1, // softmax to quantisation unit,
  parameter int unsigned NormBlocks = 1,        // vector unit to layer norm,
  parameter int unsigned NormedBlocks = 1,      // layer norm to quantisation unit,
  parameter int unsigned WrittenBlocks = 1,     // layer norm to memory,
  parameter int unsigned ResidualBlocks = 1,    // memory to vector unit,
  parameter int unsigned FirstBlocks = 1,       // memory to quantisation unit
  parameter int unsigned SumGranule = 4,        // greatest common divisors of lanes, in the same order
  parameter int unsigned NumberGranule = 4,
  parameter int unsigned ScoreGranule = 4,
  parameter int unsigned ProbabilityGranule = 4,
  parameter int unsigned NormGranule = 2,
  parameter int unsigned NormedGranule = 2,
  parameter int unsigned WrittenGranule = 2,
  parameter int unsigned ResidualGranule = 4,
  parameter int unsigned FirstGranule = 4,
  parameter              ExpFile = "bat_exp.hex",               // see lutra_bat_softmax
  parameter              ReciprocalFile = "bat_reciprocal.hex", // see lutra_bat_softmax
  parameter              RootFile = "bat_root.hex"              // see lutra_bat_norm
) (
  input  logic                            clk_i,           // clock
  input  logic                            rst_ni,          // synchronous reset, active low
  input  logic                            start_i,         // run a program
  input  logic [31:0]                     program_i,       // its address
  output logic                            done_o,          // its last step is done, for one cycle
  output logic [2:0]                      errors_o,        // a number left the range since the reset: in the vector unit,
                                                           // the quantisation unit, the layer norm
  output logic                            job_end_o,       // a job is done, for one cycle
  input  logic                            peer_job_end_i,  // the other module has done one
  output logic [Elements/XGranule-1:0]    peer_write_o,    // write these parts of a word of the other module's inputs
  output logic [15:0]                     peer_address_o,  // which word
  output logic [Elements*Bits-1:0]        peer_data_o,     // the word
  input  logic [Elements/PeerGranule-1:0] input_write_i,   // write these parts of a word of this module's inputs
  input  logic [15:0]                     input_address_i, // which word
  input  logic [Elements*Bits-1:0]        input_data_i,    // the word
  output logic                            load_start_o,    // ask memory for a part of the program
  output logic [31:0]                     load_address_o,  // from this address on
  output logic [23:0]                     load_beats_o,    // so many beats of 128 bits
  input  logic                            load_valid_i,    // a beat of them
  output logic                            load_ready_o,    // it is taken
  input  logic [127:0]                    load_data_i,     // the beat
  output logic                            read_start_o,    // ask memory for rows
  output logic                            write_start_o,   // send rows to memory
  output logic [31:0]                     read_address_o,  // where the rows begin that are read
  output logic [31:0]                     write_address_o, // where the rows begin that are written
  output logic [23:0]                     row_beats_o,     // beats of all rows
  input  logic                            read_valid_i,    // a beat of them
  output logic                            read_ready_o,    // it is taken
  input  logic [127:0]                    read_data_i,     // eight binary16 numbers
  output logic                            write_valid_o,   // a beat of rows
  input  logic                            write_ready_i,   // it is taken
  output logic [127:0]                    write_data_o,    // eight binary16 numbers
  input  logic                            write_done_i     // all of them have reached memory
);

  localparam int unsigned YBits = Units * Elements;
  localparam int unsigned TableBits = Scale ? 16 : (2 ** Bits - 1) * 16;
  localparam int unsigned PartBits = 8;

  // Steps.
  logic [1:0]          loaded;
  logic [1023:0]       instruction_0, instruction_1, step;
  logic                start, step_end, bank, load_bank, load_table, store_done;
  logic [5:0]          load_write;  // weights, factors, vector and quantiser biases, gains, norm biases
  logic [15:0]         load_word;
  logic [PartBits-1:0] load_part;
  logic [127:0]        load_data;

  lutra_bat_loader #(
    .YBeats((YBits + 127) / 128),
    .VectorBeats((VectorLanes * 16 + 127) / 128),
    .QuantiseBeats((QuantiseLanes * 16 + 127) / 128),
    .NormBeats((NormLanes * 16 + 127) / 128),
    .TableBeats((3 * TableBits + 127) / 128),
    .PartBits(PartBits)
  ) u_loader (
    .clk_i,
    .rst_ni,
    .start_i,
    .program_i,
    .done_i(step_end),
    .loaded_o(loaded),
    .instruction_0_o(instruction_0),
    .instruction_1_o(instruction_1),
    .read_o(load_start_o),
    .read_address_o(load_address_o),
    .read_beats_o(load_beats_o),
    .valid_i(load_valid_i),
    .ready_o(load_ready_o),
    .data_i(load_data_i),
    .bank_o(load_bank),
    .write_o(load_write),
    .write_table_o(load_table),
    .address_o(load_word),
    .part_o(load_part),
    .data_o(load_data)
  );

  lutra_bat_controller u_controller (
    .clk_i,
    .rst_ni,
    .loaded_i(loaded),
    .instruction_0_i(instruction_0),
    .instruction_1_i(instruction_1),
    .bank_o(bank),
    .step_o(step),
    .start_o(start),
    .end_o(step_end),
    .program_end_o(done_o),
    .job_end_o,
    .peer_job_end_i,
    .stored_i(store_done),
    .written_i(write_done_i)
  );

  // Fields of the instruction.
  logic use_softmax, use_norm, use_residual, from_memory, store_input, store_peer;

  assign use_softmax     = step[4];
  assign use_norm        = step[5];
  assign use_residual    = step[6];
  assign from_memory     = step[8];
  assign store_input     = step[20];
  assign store_peer      = step[21];
  assign read_address_o  = step[42*16 +: 32];
  assign write_address_o = step[44*16 +: 32];
  assign row_beats_o     = step[46*16 +: 24];
  assign read_start_o    = start && (use_residual || from_memory);
  assign write_start_o   = start && use_norm;

  // Codes of this module go to its own memories or to the other's; the other module may write the inputs.
  localparam int unsigned OwnParts = XGranule / InputGranule;
  localparam int unsigned PeerParts = PeerGranule / InputGranule;

  logic [Elements/XGranule-1:0]     x_write;
  logic [15:0]                      x_address;
  logic [Elements*Bits-1:0]         x_data;
  logic [Elements/InputGranule-1:0] input_write;
  logic                             own_input;

  assign own_input      = store_input && x_write != '0;
  assign peer_write_o   = store_peer ? x_write : '0;
  assign peer_address_o = x_address;
  assign peer_data_o    = x_data;

  for (genvar g = 0; g < Elements / InputGranule; g++) begin : gen_input_write
    assign input_write[g] = own_input ? x_write[g/OwnParts] : input_write_i[g/PeerParts];
  end

  logic                           sums_valid, sums_ready, vector_valid, vector_ready;
  logic [VectorLanes*SumBits-1:0] sums;
  logic [VectorLanes*16-1:0]      vector_data;
  logic [YBits/YGranule-1:0]      plane_write;
  logic [15:0]                    plane_address;
  logic [YBits-1:0]               plane_data;

  lutra_bat_products #(
    .Units(Units),
    .Elements(Elements),
    .Bits(Bits),
    .SumBits(SumBits),
    .Sums(Sums),
    .HeadWidth(HeadWidth),
    .Attention(Attention),
    .InputWords(InputWords),
    .WorkWords(WorkWords),
    .WeightWords(WeightWords),
    .PlaneWords(PlaneWords),
    .InputGranule(InputGranule),
    .WorkGranule(XGranule),
    .YGranule(YGranule),
    .OutLanes(VectorLanes),
    .Granule(SumGranule),
    .Blocks(SumBlocks),
    .PartBits(PartBits)
  ) u_products (
    .clk_i,
    .rst_ni,
    .start_i(start),
    .bank_i(bank),
    .step_i(step),
    .load_write_i(load_write[0]),
    .load_bank_i(load_bank),
    .load_word_i(load_word),
    .load_part_i(load_part),
    .load_data_i(load_data),
    .input_write_i(input_write),
    .input_address_i(own_input ? x_address : input_address_i),
    .input_data_i(own_input ? x_data : input_data_i),
    .work_write_i(store_input || store_peer ? '0 : x_write),
    .work_address_i(x_address),
    .work_data_i(x_data),
    .plane_write_i(plane_write),
    .plane_address_i(plane_address),
    .plane_data_i(plane_data),
    .valid_o(sums_valid),
    .ready_i(sums_ready),
    .data_o(sums)
  );

  // Rows from memory are residuals, or are quantised as they are.
  logic residual_ready, first_ready;

  assign read_ready_o = use_residual ? residual_ready : first_ready;

  lutra_bat_dequantise #(
    .Lanes(VectorLanes),
    .SumBits(SumBits),
    .BeatBits(VectorBeatBits),
    .FactorBits(FactorBits),
    .Granule(ResidualGranule),
    .Blocks(ResidualBlocks),
    .PartBits(PartBits)
  ) u_dequantise (
    .clk_i,
    .rst_ni,
    .bank_i(bank),
    .step_i(step),
    .load_factor_i(load_write[1]),
    .load_bias_i(load_write[2]),
    .load_bank_i(load_bank),
    .load_word_i(load_word),
    .load_part_i(load_part),
    .load_data_i(load_data),
    .sums_valid_i(sums_valid),
    .sums_ready_o(sums_ready),
    .sums_data_i(sums),
    .residual_valid_i(read_valid_i && use_residual),
    .residual_ready_o(residual_ready),
    .residual_data_i(read_data_i),
    .valid_o(vector_valid),
    .ready_i(vector_ready),
    .data_o(vector_data),
    .error_o(errors_o[0])
  );

  // Behind the vector unit stand the softmax, the layer norm, or at once the quantisation unit.
  logic                        numbers_ready, scores_ready, norm_ready, codes_ready, probabilities_valid, normed_valid;
  logic [QuantiseLanes*16-1:0] probabilities, normed;

  assign vector_ready = use_norm ? norm_ready : (use_softmax ? scores_ready : numbers_ready);

  if (Attention) begin : gen_softmax
    lutra_bat_probabilities #(
      .InLanes(VectorLanes),
      .Lanes(SoftmaxLanes),
      .OutLanes(QuantiseLanes),
      .BeatBits(SoftmaxBeatBits),
      .TokenBits(TokenBits),
      .FifoBits(SoftmaxFifoBits),
      .InGranule(ScoreGranule),
      .OutGranule(ProbabilityGranule),
      .InBlocks(ScoreBlocks),
      .OutBlocks(ProbabilityBlocks),
      .ExpFile(ExpFile),
      .ReciprocalFile(ReciprocalFile)
    ) u_probabilities (
      .clk_i,
      .rst_ni,
      .step_i(step),
      .valid_i(vector_valid && use_softmax),
      .ready_o(scores_ready),
      .data_i(vector_data),
      .valid_o(probabilities_valid),
      .ready_i(codes_ready),
      .data_o(probabilities)
    );
  end else begin : gen_no_softmax
    assign scores_ready        = 1'b0;
    assign probabilities_valid = 1'b0;
    assign probabilities       = '0;
  end

  lutra_bat_normalise #(
    .InLanes(VectorLanes),
    .Lanes(NormLanes),
    .OutLanes(QuantiseLanes),
    .BeatBits(NormBeatBits),
    .WidthBits(WidthBits),
    .FifoBits(NormFifoBits),
    .InGranule(NormGranule),
    .OutGranule(NormedGranule),
    .MemoryGranule(WrittenGranule),
    .InBlocks(NormBlocks),
    .OutBlocks(NormedBlocks),
    .MemoryBlocks(WrittenBlocks),
    .PartBits(PartBits),
    .RootFile(RootFile)
  ) u_normalise (
    .clk_i,
    .rst_ni,
    .bank_i(bank),
    .step_i(step),
    .load_gain_i(load_write[4]),
    .load_bias_i(load_write[5]),
    .load_bank_i(load_bank),
    .load_word_i(load_word),
    .load_part_i(load_part),
    .load_data_i(load_data),
    .valid_i(vector_valid && use_norm),
    .ready_o(norm_ready),
    .data_i(vector_data),
    .valid_o(normed_valid),
    .ready_i(codes_ready),
    .data_o(normed),
    .write_valid_o,
    .write_ready_i,
    .write_data_o,
    .error_o(errors_o[2])
  );

  lutra_bat_encode #(
    .VectorLanes(VectorLanes),
    .Lanes(QuantiseLanes),
    .Bits(Bits),
    .Scale(Scale),
    .BeatBits(QuantiseBeatBits),
    .Elements(Elements),
    .Units(Units),
    .HeadWidth(HeadWidth),
    .Attention(Attention),
    .XGranule(XGranule),
    .ValueLanes(ValueLanes),
    .YGranule(YGranule),
    .ValueWords(ValueWords),
    .NumberGranule(NumberGranule),
    .FirstGranule(FirstGranule),
    .NumberBlocks(NumberBlocks),
    .FirstBlocks(FirstBlocks),
    .NumberStep(NumberStep),
    .PartBits(PartBits)
  ) u_encode (
    .clk_i,
    .rst_ni,
    .start_i(start),
    .bank_i(bank),
    .step_i(step),
    .load_bias_i(load_write[3]),
    .load_table_i(load_table),
    .load_bank_i(load_bank),
    .load_word_i(load_word),
    .load_part_i(load_part),
    .load_data_i(load_data),
    .numbers_valid_i(vector_valid && !use_norm && !use_softmax),
    .numbers_ready_o(numbers_ready),
    .numbers_data_i(vector_data),
    .probabilities_valid_i(probabilities_valid),
    .probabilities_data_i(probabilities),
    .normed_valid_i(normed_valid),
    .normed_data_i(normed),
    .ready_o(codes_ready),
    .first_valid_i(read_valid_i && from_memory),
    .first_ready_o(first_ready),
    .first_data_i(read_data_i),
    .x_write_o(x_write),
    .x_address_o(x_address),
    .x_data_o(x_data),
    .plane_write_o(plane_write),
    .plane_address_o(plane_address),
    .plane_data_o(plane_data),
    .done_o(store_done),
    .error_o(errors_o[1])
  );

endmodule
