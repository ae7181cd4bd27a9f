/* Made by prune.py beside this file, in NumPy float64. Do not edit. */
// clang-format off
#include <stdint.h>
enum { PRUNE_ROWS = 17, PRUNE_COLS = 160, PRUNE_TOKENS = 400 };
static const uint32_t prune_magnitude_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {
    0x00038000, 0x0001c000, 0x0001c000, 0x0000e000, 0x00007000, 0xbbbbbbbb, 0xddd9999b, 0xcddddddd,
    0xeeeeeccc, 0x6666eeee, 0xfff557ff, 0x557ffeaa, 0xffeabfff, 0xabfff557, 0xff557ffa, 0x00080200,
    0x01004010, 0x00401004, 0x40100401, 0x10040100, 0xff0ff87f, 0x87fc3fe1, 0xfe1ff0ff, 0x0ff87fc3,
    0xfc3fe1ff, 0xf7efdf3e, 0xdf3e7cfb, 0x7cfbf7ef, 0xf7efdf3e, 0xdf3e7cfb, 0x40080801, 0x02000040,
    0x80101000, 0x04040080, 0x01002020, 0xd6b5ef5a, 0x5eb5ad7b, 0x5af7ad6b, 0x5ad6bdeb, 0x7bd6b5af,
    0xdf7bcf7b, 0xde7bdf7b, 0xdef3defb, 0x9ef7def7, 0xbcf7bef7, 0x00700000, 0x00038000, 0x00000c00,
    0x00000060, 0x18000003, 0xb3377776, 0xddd99bbb, 0x6eeeccdd, 0x33777766, 0xdd99bbbb, 0xabfffd55,
    0x557fffaa, 0xaabffff5, 0xd557fffe, 0xfaaaffff, 0x00400020, 0x01020081, 0x04080204, 0x10200810,
    0x40802040, 0x7fc1ff0f, 0x07fc1ff0, 0xf07fc1ff, 0xff07fc1f, 0x1ff07fc1, 0xefdf3ef9, 0xdfbe7df3,
    0xbe7cfbe7, 0x7cfbf7cf, 0xf9f7ef9f, 0x00000040, 0x02020200, 0x02020202, 0x02020202, 0x00000202,
    0x5ad7bdef, 0xd6b5ad6b, 0xd6b5ef7b, 0xf5ad6b5a, 0xb5af7bde,
};
static const double prune_magnitude_sums[PRUNE_ROWS][2] = {
    {2.9837618, 14.886945}, {5.6282796, 304.09402}, {0.65097249, 707.24671},
    {0.9922002, 14.818419}, {-11.111102, 313.11976}, {3.6963902, 704.72617},
    {3.0298069, 14.891817}, {0.83680308, 299.72822}, {4.036176, 701.91428},
    {0.00086718798, 13.913755}, {2.4929736, 301.62593}, {-2.3198572, 710.12939},
    {2.0034143, 17.839575}, {0.49260783, 295.43542}, {0.62872541, 705.31025},
    {1.977347, 13.8811}, {-0.60889733, 305.00656},
};
static const uint32_t prune_magnitude_2_4_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {
    0x3333cccc, 0x3333cccc, 0x3333cccc, 0x93336ccc, 0x93336ccc, 0x99933333, 0x99999999, 0xcccccc99,
    0xcccccccc, 0x66666666, 0xa955555a, 0x5555aaaa, 0x5aaaaa95, 0xaaa95555, 0x555556aa, 0x66c9366c,
    0xc9366c93, 0x366c9366, 0x6c9366c9, 0x9366c936, 0x3c93cc3c, 0xc3cc36c3, 0x6c33c93c, 0x93cc3cc3,
    0xcc36c33c, 0xc3c3963c, 0x963c3c69, 0x3c69c3c3, 0xc3c3963c, 0x963c3c69, 0x59696969, 0x5a5a5a5a,
    0x9696969a, 0xa5a5a696, 0x6965a5a5, 0x56a5a95a, 0x5695a96a, 0x5a95a56a, 0x5a56a569, 0x6a56a5a9,
    0xc639c639, 0xcc33cc39, 0x9c639c63, 0x9c639c63, 0x9c639c63, 0x333ccc33, 0x9333ccc3, 0xcc333ccc,
    0xccc3336c, 0x3ccc9333, 0x33333666, 0x99999993, 0x66cccccc, 0x33336666, 0x99999933, 0xaaa95555,
    0x5555aaaa, 0xaaaaa555, 0x555556aa, 0xaaaaaa95, 0x366c9336, 0x99366c99, 0x66c9336c, 0x9366c993,
    0x6c9936cc, 0x3cc33c93, 0x93cc33c9, 0xc93cc33c, 0x3c93cc33, 0x33c93cc3, 0xc3963c39, 0xc63c3963,
    0x9c3c63c3, 0x3c69c3c6, 0x39c3c39c, 0x5a5a5a5a, 0x5a5a5a5a, 0x5a5a5a5a, 0x5a5a5a5a, 0x9a5a5a5a,
    0x5a96a569, 0x5695a56a, 0x96a5a95a, 0x95a5695a, 0xa5a96a56,
};
static const double prune_magnitude_2_4_sums[PRUNE_ROWS][2] = {
    {10.882307, 44.279639}, {3.6289155, 262.38481}, {3.9233887, 583.7064},
    {11.377286, 64.476359}, {2.5202591, 209.78379}, {3.2610666, 539.73665},
    {0.024144411, 63.335427}, {0.85842729, 257.45397}, {5.7342634, 567.2872},
    {0.52903661, 45.744195}, {3.0108396, 262.51509}, {-3.7965717, 596.69329},
    {-1.1268928, 64.356821}, {-6.3335927, 202.74518}, {-2.5875868, 543.93904},
    {2.0047044, 63.774037}, {1.0645642, 258.11416},
};
static const uint32_t prune_wanda_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {
    0x0ceecec0, 0x0ceeeec8, 0x08eeeec8, 0x00eeeec8, 0x00eeeeec, 0x888a8aaa, 0xcccc8888, 0xcccccccc,
    0xeccccccc, 0x6eeeeeee, 0xaec444ce, 0x444eeaaa, 0xeeaaaeec, 0xaaecc444, 0xcc44ceea, 0x2ecc86ec,
    0xcca6ecca, 0xa6ec8a6e, 0xec8a6ec8, 0x8a6cc8a6, 0xee0ec8ee, 0x8eec0ec0, 0xec0ee0ee, 0x0ee8eec0,
    0xec0ec0ee, 0xe6ce8e0c, 0x8e0e6ce8, 0x6ce8e2ce, 0xe2ce8e0e, 0x8e8e6ce8, 0x4a4a4c6c, 0xcacacaca,
    0x86c6cece, 0xacaca4a6, 0xecececac, 0xceaccc4a, 0xcee4ac4a, 0x4ac4ac6a, 0x4ac6acea, 0x6aceacec,
    0xce68ce68, 0xce68ce68, 0x8ce2ceea, 0x8ce68ce2, 0x8ce68ce6, 0x8eeec80e, 0x00eeee80, 0xc80eeeec,
    0xec80ceee, 0xeeec00ee, 0xaae64666, 0xcccc88aa, 0xeeeccccc, 0xae66666e, 0xcc888aaa, 0xaaeecc44,
    0x444ceeaa, 0xaaaaecc4, 0xc444ceea, 0xeaaaaecc, 0xa6ccca66, 0xc8a6ecc8, 0x6ccca66c, 0x8a6ecc8a,
    0xeccae6cc, 0xaec0cc0e, 0x8eec0ec8, 0xe8eec0ee, 0xee8eec0e, 0x0ee8eec0, 0xce8e0ce8, 0xce8c68e0,
    0x8e6ce8c6, 0x6ce8e6ce, 0xe8e2ce8e, 0xcacacaca, 0xcacacaca, 0xcacacaca, 0xcacacaca, 0xcacacaca,
    0xcac48cec, 0xcea4ac6a, 0xc6acec4a, 0xe4acea4a, 0xacec4ace,
};
static const double prune_wanda_sums[PRUNE_ROWS][2] = {
    {12.598945, 54.118857}, {4.3630894, 222.48574}, {0.42147303, 489.7536},
    {5.3590867, 55.010273}, {4.2110454, 226.08294}, {0.47407907, 502.67461},
    {-0.011764109, 55.163147}, {4.0785115, 220.55279}, {2.6085424, 496.02342},
    {-0.82765585, 55.336929}, {1.1562009, 210.06443}, {-18.665837, 510.26565},
    {-0.02629891, 55.261317}, {0.37188524, 214.51574}, {0.3388958, 493.85601},
    {0.41138637, 56.96627}, {3.8654241, 219.97603},
};
static const uint32_t prune_wanda_2_4_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {
    0x3ccccccc, 0x3ccccccc, 0xaccccccc, 0x9ccccccc, 0xcccccccc, 0xaaaa9aaa, 0xcccccc9a, 0xcccccccc,
    0xcccccccc, 0x6666cccc, 0xaccc5cca, 0xc5cccaaa, 0xccaaaacc, 0xaaaccc5c, 0xcc55ccaa, 0x6ccc96cc,
    0xcca6ccca, 0xa6ccca6c, 0xccca6ccc, 0xaa6ccca6, 0xac9ccc6c, 0xc6cc6cc3, 0xcc3cc9cc, 0x9ccc6cc6,
    0xcc6cc3cc, 0xc6c6ccac, 0xccac6cc9, 0x6cc9c6c6, 0xc6ccccac, 0xccac6cc9, 0xca6a6c6c, 0xcacacaca,
    0xc6c6c6ca, 0xacaca6a6, 0x6cacacac, 0xc6accc6a, 0xcaccac6a, 0xcac6ac6a, 0x6ac6acca, 0x6ac6acac,
    0xcc6acc69, 0xcc6acc6a, 0xcc6acc6a, 0x9cc6ccc6, 0xacc69cc6, 0xaccccc6c, 0xccccccca, 0xcc6ccccc,
    0xccc6cccc, 0xcccc9ccc, 0xaaa65666, 0xccccaaaa, 0xcccccccc, 0xaa666666, 0xcccaaaaa, 0xaaaccc55,
    0x55cccaaa, 0xaaaacccc, 0xc55cccca, 0xaaaaaccc, 0xa6ccca66, 0xcaa66cca, 0x6ccca66c, 0xca66ccaa,
    0xcccaa6cc, 0xacc6cccc, 0xcccc6ccc, 0xccccc6cc, 0xcccccc6c, 0x6cccccc6, 0xc6cc5c6c, 0xccac6cca,
    0xac6ccac6, 0x6cc9c6cc, 0x6cc6cc9c, 0xcacacaca, 0xcacacaca, 0xcacacaca, 0xcacacaca, 0xcacacaca,
    0xcac6acac, 0xcca6ac6a, 0xc6acac6a, 0xc6ac6aca, 0xacac6acc,
};
static const double prune_wanda_2_4_sums[PRUNE_ROWS][2] = {
    {9.6535932, 39.613239}, {-0.35479081, 223.31603}, {-4.3299671, 493.74577},
    {-1.7434851, 53.94848}, {6.3640077, 180.07729}, {3.9670589, 438.21164},
    {0.18937778, 55.603183}, {5.9730578, 216.49151}, {3.2711327, 464.71355},
    {0.74340761, 40.34106}, {0.25273311, 208.5036}, {-13.354002, 527.03377},
    {0.8780562, 55.642577}, {-2.4852739, 162.49648}, {-1.6366972, 440.91963},
    {0.41138637, 56.96627}, {-1.9072964, 217.50675},
};
static const uint32_t prune_ria_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {
    0x000cc880, 0x200cc404, 0x000ccc00, 0x000cc880, 0x000ccc00, 0xb9ba9bbb, 0xe8c9999d, 0xcdcccccc,
    0xeeeccccc, 0x666eeeee, 0xfffd55fe, 0xf5ffeeae, 0xffeaafff, 0xaafff55d, 0xff55ffee, 0x04c800cc,
    0x88004480, 0x004c8004, 0x48880088, 0x8004c800, 0xfe0ec8ef, 0xa7ec0fc4, 0xfc0fe0fe, 0x0fe87fc0,
    0xfc0fc0fe, 0xe7efcfbe, 0xefbe7cfd, 0x7df9e7ef, 0xe7efcfbe, 0xcfbe7cf9, 0x08484808, 0x80484048,
    0x84800080, 0x84848084, 0x08080404, 0xd6acef4a, 0xdee5ad4a, 0x5ad4ad6a, 0x4ad6adeb, 0x6adea5ad,
    0xce7bce7b, 0xcefbce7b, 0xdef3defb, 0x9ef79ef7, 0xbce7bcf7, 0x08ec8000, 0x000cc000, 0x00004c80,
    0xc80008ec, 0xcc80000c, 0xbb366666, 0xccc99bbb, 0xeeeecccc, 0xb3766666, 0xcd99bbbb, 0xaeffddd5,
    0x55fffeae, 0xaaaefffd, 0xd55dffee, 0xeaaaefff, 0x00488804, 0x88004488, 0x04c80204, 0x8004c880,
    0x4c880448, 0xffc0fe8f, 0x0fec0fe4, 0xe0ffc0fe, 0xfe0ffc0f, 0x0fe8ffc0, 0xefce3ef9, 0xefbefcf7,
    0xbf7cfbe7, 0x7cf9e7cf, 0xf9e7cf9e, 0x084848c8, 0x4848404c, 0x40404208, 0xc0080080, 0xc080c000,
    0x5ad68def, 0xfea4ad6e, 0xd7adef6a, 0xf4ad6a5a, 0xa5ad6ade,
};
static const double prune_ria_sums[PRUNE_ROWS][2] = {
    {6.0553754, 25.448948}, {3.7288629, 272.48451}, {3.2386375, 700.93497},
    {-1.3037032, 24.78636}, {-2.8632811, 271.61341}, {3.5611155, 689.6926},
    {2.7539916, 23.608868}, {-3.0404767, 272.54511}, {4.7024611, 687.87838},
    {0.67916745, 27.614569}, {2.2139601, 278.79404}, {-2.6021353, 698.41846},
    {2.6972514, 27.406538}, {-9.2566222, 279.48142}, {-5.1957639, 689.56251},
    {1.3305219, 21.542122}, {2.3779797, 279.3035},
};
static const uint32_t prune_ria_2_4_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {
    0x3ccccccc, 0x3acccccc, 0x35cccccc, 0x96cccccc, 0xc6cccccc, 0x99aa9aaa, 0xacc9999c, 0xcccccccc,
    0xcccccccc, 0x666666cc, 0xacc555ca, 0x655ccaac, 0xcaaaaaac, 0xaaacc555, 0xc5555caa, 0x6cc996cc,
    0xc9a66c9a, 0xa6cc9a66, 0xcc9a6cc9, 0x9a6cc9a6, 0xac9cccac, 0xa6cc36c5, 0xcc36c9ac, 0x96cc6cc3,
    0xcc3cc3cc, 0xc3c6ccac, 0xac3c6cc9, 0x6cc9c3c6, 0xc3c6cc3c, 0xcc3c6c69, 0x6a6a696c, 0xcacacaca,
    0xa6c6c6ca, 0xacaca6a6, 0x6c6cacac, 0xc6acca5a, 0xcaa5ac6a, 0x5ac6ac6a, 0x6ac6acaa, 0x6ac6a5ac,
    0xcc69cc69, 0xcc63cc69, 0xcc63cc63, 0x9c639c63, 0x9cc69cc3, 0x3ccccc36, 0xa6ccccc5, 0xcc36cccc,
    0xccc36acc, 0xcccc96cc, 0xaa366666, 0xccc9999a, 0x66cccccc, 0xa3666666, 0xc999999a, 0xaaacc555,
    0x55cccaaa, 0xaaaaccc5, 0x5555ccaa, 0xaaaaaacc, 0xa6cc9aa6, 0xc9a66cc9, 0x6cc9a66c, 0x9a66ccaa,
    0x6c9a66cc, 0x3cc3ccc6, 0xaacc36cc, 0xc96cc3ac, 0xcccacc3c, 0x36cc6cc3, 0xc6cc3cc9, 0xccac6cc5,
    0x9c6c69c6, 0x3c69c3cc, 0x69c3c69c, 0xcacacaca, 0xcacacacc, 0xcacacaca, 0xcacacaca, 0xcacacaca,
    0x5ac6acaa, 0xc6a5ac6c, 0xc6a5ac6a, 0xa5ac6a5a, 0xa5ac6ac6,
};
static const double prune_ria_2_4_sums[PRUNE_ROWS][2] = {
    {10.135227, 40.232641}, {-0.6842981, 237.61209}, {-10.389647, 534.86598},
    {10.098876, 60.827333}, {4.9779144, 188.72861}, {0.74622887, 488.19703},
    {-1.3746916, 56.866868}, {-8.3811215, 228.19622}, {4.0818163, 536.35183},
    {0.65430901, 42.162079}, {-3.4296365, 242.20835}, {-3.6312345, 562.48255},
    {-2.3668629, 59.740674}, {1.5950686, 183.58968}, {6.5755509, 491.49695},
    {1.6287698, 56.045744}, {5.2115973, 233.03151},
};
static const uint32_t prune_sparsegpt_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {
    0x008c8800, 0x00cccc80, 0x00cccc80, 0x00ceecc0, 0x004e8880, 0x88888888, 0xccccc888, 0xcccccccc,
    0xeeeeeccc, 0xeecee46e, 0xaecc4cee, 0xd5deeeaa, 0xfeeaaeff, 0xaefffd5f, 0xefd5eeea, 0x04888008,
    0xc8844c88, 0x844c8844, 0xcc8a6cc8, 0xd00ae380, 0xee8ec88e, 0x8eec0ec0, 0xfe0ee8ee, 0x8feceec6,
    0xfc0e96ef, 0xe7cece8c, 0xcebefcf8, 0xfcf9e7ef, 0xe7efcfbe, 0xcebefcee, 0x08480808, 0xc8c84848,
    0x848480c8, 0xaca48484, 0x08000000, 0xceaccc4a, 0xcee4ac48, 0xcec6acea, 0x6adeadee, 0x4af69d7a,
    0xce68ce68, 0xcefbcef9, 0xdeffcefb, 0xfef7deff, 0xace69fe6, 0x0ccc8000, 0x00cccc00, 0x8008ccc8,
    0xec808ccc, 0xee800180, 0xaaa64664, 0xcccc88a8, 0xeeeecccc, 0xffe666ee, 0xdcdddef2, 0xaeeecc44,
    0x55feeeea, 0xaaaeeffd, 0xfd5fffee, 0xeaaaaeff, 0x04488800, 0xc8844c88, 0x4cc8804c, 0x8a64cc88,
    0x08987201, 0xaec0cc88, 0x8eec0ee8, 0xe8eec0ee, 0xfe8fec0f, 0x2a88cfe4, 0xefce0ce8, 0xcebefce9,
    0xbe7cfbef, 0x7efbe7cf, 0xf8e5db8e, 0x88480808, 0xc8c8c8c8, 0xc8c8c8c8, 0xcacacac8, 0x48480808,
    0xcec48ca8, 0xcee4ace8, 0xd6acee6a, 0xf6adeece, 0xbdef6ddf,
};
static const double prune_sparsegpt_sums[PRUNE_ROWS][2] = {
    {7.564172, 41.792751}, {2.944496, 244.72188}, {-3.6486708, 855.83992},
    {8.0977809, 145.98566}, {0.62263308, 427.36758}, {-0.99402913, 928.69677},
    {1.0326312, 5.8964848}, {6.8462873, 289.34249}, {8.2393843, 511.17066},
    {1.7080038, 35.859054}, {12.383863, 408.76052}, {-5.1387126, 808.12487},
    {-11.246324, 180.92586}, {-1.8852827, 439.50904}, {-15.46626, 1100.5656},
    {-0.027309044, 14.933512}, {-10.911351, 512.10234},
};
static const uint32_t prune_sparsegpt_2_4_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {
    0x3ccccccc, 0xacac69cc, 0x696ac955, 0x9c36c6cc, 0x6966aa6c, 0xaaaa9aaa, 0xcacaacac, 0xcccc5cac,
    0x5cccc9c9, 0xc6c6565c, 0xaccc5cca, 0x99aaa66a, 0xc9ac9caa, 0x3acccc56, 0xc9655a5c, 0x3ccca6cc,
    0xc6a6acac, 0x9cac9636, 0xc5c65ccc, 0x9a569a96, 0xaccccccc, 0xc6c9accc, 0xccc6c9cc, 0xa6cc5c96,
    0xca5cc95c, 0xa5caccac, 0xca9ccca9, 0x5c9aa9c3, 0xc9aa5cac, 0xac3cac6c, 0x6c6c6c6c, 0xccaccccc,
    0xc5caca6c, 0xc59cc3cc, 0xaccc9cac, 0xccaccc5a, 0x96a5c95a, 0x5c95ac5a, 0x53c6a96a, 0x6accacac,
    0xaacccc69, 0x9c39c69c, 0x9cc6cc6a, 0xac63aca5, 0xacc69cc6, 0x6ccccc6c, 0xccccc9cc, 0xacccc9ac,
    0xaacc5c99, 0xca99a5cc, 0xaaa66666, 0xc9caaa3a, 0x5c555acc, 0x66a655c5, 0x99c99a3a, 0xaaaccc55,
    0xcc5caaac, 0xaaaaacc6, 0xcac69aaa, 0xaaaaaaac, 0xa6ccca66, 0xca6aacca, 0x6acaaa6a, 0xca6acc9a,
    0xccca6659, 0xacc6cccc, 0x56cca6cc, 0xc566a66c, 0x6c3acc33, 0x36a936a9, 0xc6cc9cc9, 0xcaac9cac,
    0x9caaa9ca, 0x5933ca96, 0xaccac5aa, 0xcacacaca, 0x3a3cc9c9, 0xcac9c96c, 0x695c9c39, 0xccc9cacc,
    0xccccacac, 0x96accaca, 0xc5996ccc, 0xa56c9a96, 0x9caacacc,
};
static const double prune_sparsegpt_2_4_sums[PRUNE_ROWS][2] = {
    {11.875351, 242.27918}, {8.3793976, 498.12001}, {-33.658478, 1814.4242},
    {3.0342184, 181.12394}, {-1.035235, 569.1955}, {-28.900726, 1733.1779},
    {-0.49643615, 59.456116}, {13.567637, 314.71875}, {5.5145666, 419.80719},
    {-1.2404053, 136.03047}, {26.340201, 764.97177}, {-8.2065813, 919.34023},
    {-0.91617131, 109.35321}, {-3.510624, 638.02184}, {8.4064457, 1580.8589},
    {0.3391229, 108.11541}, {4.3571194, 485.05288},
};
static const uint32_t prune_refit_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {
    0x0ceecec0, 0x0ceeeec8, 0x08eeeec8, 0x00eeeec8, 0x00eeeeec, 0x888a8aaa, 0xcccc8888, 0xcccccccc,
    0xeccccccc, 0x6eeeeeee, 0xaec444ce, 0x444eeaaa, 0xeeaaaeec, 0xaaecc444, 0xcc44ceea, 0x2ecc86ec,
    0xcca6ecca, 0xa6ec8a6e, 0xec8a6ec8, 0x8a6cc8a6, 0xee0ec8ee, 0x8eec0ec0, 0xec0ee0ee, 0x0ee8eec0,
    0xec0ec0ee, 0xe6ce8e0c, 0x8e0e6ce8, 0x6ce8e2ce, 0xe2ce8e0e, 0x8e8e6ce8, 0x4a4a4c6c, 0xcacacaca,
    0x86c6cece, 0xacaca4a6, 0xecececac, 0xceaccc4a, 0xcee4ac4a, 0x4ac4ac6a, 0x4ac6acea, 0x6aceacec,
    0xce68ce68, 0xce68ce68, 0x8ce2ceea, 0x8ce68ce2, 0x8ce68ce6, 0x8eeec80e, 0x00eeee80, 0xc80eeeec,
    0xec80ceee, 0xeeec00ee, 0xaae64666, 0xcccc88aa, 0xeeeccccc, 0xae66666e, 0xcc888aaa, 0xaaeecc44,
    0x444ceeaa, 0xaaaaecc4, 0xc444ceea, 0xeaaaaecc, 0xa6ccca66, 0xc8a6ecc8, 0x6ccca66c, 0x8a6ecc8a,
    0xeccae6cc, 0xaec0cc0e, 0x8eec0ec8, 0xe8eec0ee, 0xee8eec0e, 0x0ee8eec0, 0xce8e0ce8, 0xce8c68e0,
    0x8e6ce8c6, 0x6ce8e6ce, 0xe8e2ce8e, 0xcacacaca, 0xcacacaca, 0xcacacaca, 0xcacacaca, 0xcacacaca,
    0xcac48cec, 0xcea4ac6a, 0xc6acec4a, 0xe4acea4a, 0xacec4ace,
};
static const double prune_refit_sums[PRUNE_ROWS][2] = {
    {15.184936, 60.742483}, {4.5141808, 249.50955}, {2.183083, 632.73673},
    {1.1284219, 70.88815}, {4.8017993, 293.25021}, {-1.3096566, 560.03844},
    {-0.063873722, 33.403639}, {4.8360935, 188.07332}, {2.1214655, 308.23337},
    {-0.0043792645, 46.390727}, {2.6782158, 224.3874}, {-11.181942, 655.66298},
    {-1.3635085, 70.906721}, {2.6973299, 289.60176}, {-3.7698149, 574.49065},
    {-0.029907613, 40.436924}, {5.3068479, 271.17054},
};
static const uint32_t prune_revised_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {
    0x0ceecec0, 0x08eeeec8, 0x08efeec8, 0x00eeeec8, 0x00eefecc, 0x888a8aaa, 0xcccc8888, 0xcccccccc,
    0xeccccccc, 0x6eeeeeee, 0xaec544ce, 0x544eeaaa, 0xceaaaeec, 0xaaecc444, 0xcc445cea, 0x2ecd86ec,
    0xcca6ecca, 0xa6ec8a6e, 0xcc8a6ec8, 0x8a6cc8a6, 0xee0ec8ee, 0x8eec0ec0, 0xec0ee0ee, 0x0ee8eec0,
    0xec0ec0ee, 0xe6cf8e0c, 0x8e0e6ce8, 0x6ce8e2ce, 0xe2ce8e0e, 0x8e0e6ce8, 0x4a484c6d, 0xdacacaca,
    0x86c6cece, 0xacaca4a4, 0xecececac, 0xceaccc4a, 0xdea4ad4a, 0x4ac4ac6a, 0x4ac4acea, 0x6aceacec,
    0xce79ce68, 0xce68ce68, 0x8ce2ccea, 0x8ce28ce2, 0x8ce68ce6, 0x8eeec80e, 0x00eeee80, 0xc80eeeec,
    0xec80ceee, 0xeeec00ee, 0xaab74666, 0xcccc888a, 0xeeeccccc, 0xae66666e, 0xcc888aaa, 0xaaeecc44,
    0x444ceeaa, 0xaaaaecc4, 0xc444ceea, 0xeaaaaecc, 0xa6cdca66, 0xc8a66cc8, 0x6ccda66c, 0x8a66cc9a,
    0xeccaa6cc, 0xaec1cc0f, 0x0eec0ec8, 0xc8eec0ee, 0xee8eec0e, 0x0ee8eec0, 0xce8e0ce8, 0xce8c68e0,
    0x8e6ce8c6, 0x6ce8e6ce, 0xe8e2ce8e, 0xcacacaca, 0xcacacaca, 0xcacacaca, 0xcacacaca, 0xcacacaca,
    0x4ad48ced, 0xdea4ad6a, 0xc4ade84a, 0xa5ac6a5a, 0x8cec48ce,
};
static const double prune_revised_sums[PRUNE_ROWS][2] = {
    {14.373943, 55.414811}, {4.3630894, 222.48574}, {-1.2412838, 505.04669},
    {5.6991347, 55.564943}, {4.2110454, 226.08294}, {4.2850896, 509.97761},
    {3.3421508, 56.056281}, {5.5131024, 224.92701}, {3.0917387, 505.0644},
    {-0.82765585, 55.336929}, {3.2611023, 213.06623}, {-18.665837, 510.26565},
    {-1.5183124, 57.175744}, {2.1609548, 216.85398}, {0.3388958, 493.85601},
    {0.41138637, 56.96627}, {18.539877, 230.92678},
};
static const uint32_t prune_revised_2_4_kept[PRUNE_ROWS * PRUNE_COLS / 32] = {
    0x3ccccccc, 0x3ccccccc, 0xaccccccc, 0x9ccccccc, 0xcccc9ccc, 0xaaaa9aaa, 0xcccccc9a, 0xcccccccc,
    0xcccccccc, 0x6666cccc, 0xaccc5cca, 0xc5cccaaa, 0xccaaaacc, 0xaaaccc5c, 0xcc55ccaa, 0x6ccc96ac,
    0xcca6ccca, 0xa6ccca6c, 0xccca6ccc, 0xaa6ccca6, 0xac99cc6c, 0xc6cc6cc3, 0xcc3cc9cc, 0x9ccc6cc6,
    0xcc6cc3cc, 0xc6c6ccac, 0xccac6cc9, 0x6cc9c6c6, 0xc6ccccac, 0xccac6cc9, 0xca6a6c6c, 0xcacacaca,
    0xc6c6c6ca, 0xacaca6a6, 0x6cacacac, 0xc6accc6a, 0xcaccac6a, 0xcac6ac6a, 0x6ac6acca, 0x6ac6acac,
    0xcc6acc69, 0xcc6acc6a, 0xcc6acc6a, 0x9cc6ccc6, 0xacc69cc6, 0xaccccc6c, 0xccccccca, 0xcc6ccccc,
    0xccc6cccc, 0xcccc9ccc, 0xaaa65666, 0xccccaaaa, 0xcccccccc, 0xaa666666, 0xcccaaaaa, 0xaaaccc55,
    0x55cccaaa, 0xaaaacccc, 0xc55cccca, 0xaaaaaccc, 0xa6ccca66, 0xcaa66cca, 0x6ccca66c, 0xca66ccaa,
    0xcccaa6cc, 0xacc3ccc9, 0xcccc6ccc, 0xccccc6cc, 0xcccccc6c, 0x6ccc9cc6, 0xc6c95c6c, 0xccac6cca,
    0xac6ccac6, 0x6cc9c6cc, 0x6cc6cc9c, 0xcacacaca, 0xcacacaca, 0xcacacaca, 0xcacacaca, 0xcacacaca,
    0xcac6acac, 0xcca6ac6a, 0xc6acac6a, 0xc6ac6aca, 0xacac6acc,
};
static const double prune_revised_2_4_sums[PRUNE_ROWS][2] = {
    {9.6461739, 39.598485}, {-0.35479081, 223.31603}, {-4.3299671, 493.74577},
    {-0.03653875, 53.502654}, {6.8041213, 181.59513}, {3.9670589, 438.21164},
    {0.18937778, 55.603183}, {5.9730578, 216.49151}, {3.2711327, 464.71355},
    {0.74340761, 40.34106}, {0.25273311, 208.5036}, {-13.354002, 527.03377},
    {0.8780562, 55.642577}, {-2.7584108, 167.28741}, {-2.7680136, 435.42024},
    {0.41138637, 56.96627}, {-1.9072964, 217.50675},
};
enum { CHANNELS_COLS = 48, CHANNELS_KEPT = 30 };
static const uint32_t channels_kept[CHANNELS_KEPT] = {
    2, 3, 6, 7, 10, 11, 14, 15, 17, 18, 19, 22, 23, 25, 26, 27, 29, 30, 31, 33,
    35, 37, 38, 39, 41, 42, 43, 45, 46, 47,
};
static const double channels_fitted[CHANNELS_KEPT] = { // row 5
    3.1615491, -3.2128396, 1.144918, 0.18218687, -4.2059853, 3.3307526, 1.1193185, -1.7550906,
    -3.3407966, 1.4359945, -1.916533, -3.1227972, 2.9524072, 1.7845361, 0.075331405, 0.78182187,
    -2.087955, 1.6994354, -3.2350725, -0.31208795, 1.8650045, 3.2684603, -1.9744931, 2.5108704,
    -1.2750916, 1.8692227, -2.9846955, -3.0216824, 1.5595385, -0.21202534,
};
static const double channels_with_errors[CHANNELS_KEPT] = {
    3.1688875, -3.2120397, 1.1492894, 0.18348081, -4.1991002, 3.329626, 1.1226804, -1.7553511,
    -3.3404711, 1.4322502, -1.9207411, -3.12627, 2.9501176, 1.7780979, 0.070117973, 0.77817271,
    -2.0953191, 1.6906316, -3.2370975, -0.31277596, 1.8663387, 3.268815, -1.9777494, 2.510665,
    -1.2744513, 1.8739033, -2.9824432, -3.0147728, 1.5648438, -0.20773791,
};
static const double channels_losses_of[CHANNELS_COLS - CHANNELS_KEPT + 1] = {
    0, 3.0433623, 6.3766531, 10.463187, 14.69747, 21.052329, 27.972359, 37.111452,
    46.319775, 55.736274, 65.452608, 76.112099, 89.619925, 103.67452, 118.67341, 148.03823,
    183.38395, 226.00457, 271.83904,
};
enum { GROUP_COLS = 6, GROUPS_KEPT = 5 };
static const uint32_t groups_kept[GROUPS_KEPT] = {0, 1, 5, 6, 7};
static const double groups_fitted[GROUPS_KEPT * GROUP_COLS] = {
    -7.8870808, 0.99830543, 1.3981663, -3.2838282, 3.8672714, -4.260856, 3.3569469, -0.20132477,
    3.5560802, 0.56134112, -2.9137819, 2.7240024, 3.2881113, -2.945089, -1.1526127, 0.2767121,
    -0.81797768, 2.2679509, -5.7209076, 3.3719434, -1.9216761, 1.1167542, 4.3395933, -1.1448179,
    2.298906, -2.7142709, 2.5803388, -2.7128267, 0.66251313, -0.99610214,
};
static const double groups_losses_of[CHANNELS_COLS / GROUP_COLS - GROUPS_KEPT + 1] = {
    0, 163.48585, 420.87275, 894.71959,
};
static const uint32_t permute_order_of[PRUNE_COLS] = {
    155, 25, 97, 13, 79, 2, 105, 88, 43, 34, 45, 128, 55, 62, 145, 104, 75, 74, 65, 64,
    19, 126, 5, 32, 67, 142, 133, 96, 83, 158, 85, 48, 115, 26, 125, 68, 35, 98, 49, 84,
    15, 18, 129, 4, 135, 146, 53, 152, 95, 42, 17, 116, 39, 38, 113, 144, 23, 86, 109, 148,
    51, 94, 73, 136, 11, 54, 77, 24, 111, 58, 57, 92, 107, 6, 37, 28, 139, 66, 1, 112,
    87, 154, 141, 156, 119, 122, 29, 8, 71, 22, 89, 120, 151, 118, 41, 76, 143, 114, 153, 44,
    131, 14, 137, 72, 3, 78, 117, 124, 159, 82, 9, 108, 127, 46, 69, 56, 123, 134, 157, 132,
    31, 138, 93, 80, 103, 102, 149, 0, 27, 90, 21, 100, 91, 10, 33, 140, 63, 130, 101, 20,
    59, 150, 121, 60, 99, 110, 81, 12, 147, 70, 30, 40, 47, 106, 61, 52, 7, 50, 16, 36,
};
static const double owl_shares_of[3] = {0.677037037, 0.6059259259, 0.517037037};
// clang-format on
