// exp of binary16 numbers up to 0, two per table: a block RAM has two read ports.
//
// Magnitudes below 0x0C00 give 1; from 0x4C00 on the result is 2, 1 or 0 units of 2**-24; the file holds what lies
// between.
//
// Timing: y_o shows the results one cycle with enable_i later.
module lutra_bat_exp_table #(
  parameter int unsigned Lanes = 2,           // 1 or 2
  parameter              File = "bat_exp.hex" // 16384 words of 14 bits: exp of the magnitudes from 0x0C00 on
) (
  input  logic                clk_i,     // clock
  input  logic                enable_i,  // advance
  input  logic [Lanes*15-1:0] x_i,       // magnitudes of binary16 numbers up to 0
  output logic [Lanes*14-1:0] y_o        // binary16 up to 1, without its two highest bits, which are 0
);

  localparam logic [14:0] First = 15'h0C00;
  localparam logic [14:0] Beyond = 15'h4C00;
  localparam logic [14:0] LastTwo = 15'h4C0E;  // exp of more is below 1.5 * 2**-24
  localparam logic [14:0] LastOne = 15'h4C55;  // exp of more is below 0.5 * 2**-24

  (* rom_style = "block" *) logic [13:0] words [0:16383];

  initial begin
    $readmemh(File, words);
  end

  for (genvar l = 0; l < Lanes; l++) begin : gen_lane
    logic [14:0] magnitude;
    logic [13:0] address;
    logic [13:0] word_q;
    logic        one_q, beyond_q;
    logic [1:0]  units_q;

    assign magnitude = x_i[l*15 +: 15];
    assign address   = 14'(magnitude - First);

    always_ff @(posedge clk_i) begin
      if (enable_i) begin
        word_q   <= words[address];
        one_q    <= magnitude < First;
        beyond_q <= magnitude >= Beyond;
        units_q  <= magnitude <= LastTwo ? 2'd2 : (magnitude <= LastOne ? 2'd1 : 2'd0);
      end
    end

    assign y_o[l*14 +: 14] = one_q ? 14'h3C00 : (beyond_q ? {12'd0, units_q} : word_q);
  end

endmodule
