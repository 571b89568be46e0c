/* SPDX-License-Identifier: ISC */
/*
 * A call recorded between our keys and libdave: we join by a Welcome, B is added, B is
 * removed with a path. Every epoch has to come out as it did there.
 */
#include "tests/unit/mls_sim.h"

static const char external_sender[] =
	"404104d0f7db4740f6bd29471b689734943e5c4590feef23d8c0ce625d3bc38dee2bd00fdd87f11507d2"
	"7b6de3e65edaaac7d669014cda6e1e9204a933290eeccebc8800010100";

static const char key_package[] =
	"00010002404104437aca995a1c44220c24c9446ca41f0e6a204d510e148debcd7d60b59c9c584535f36b"
	"d2fb52969446787dbf446a690b173b60335d3cccc3a1ba5a952c3e265540410448dd9c9cf1358d943579"
	"88fdedf18ebe2f6d090f8fc5141eddec51e246f1fabaa72b3cbc98107999f099a5bc7eee75d0ecfbf061"
	"7f6c947f3c044549672afc55404104e776c6e09bfbbf9579238d8bc5586aa042698d4c35ed6eb424e08d"
	"d5c24a5ee07d931e736c6d2c8cbfc6805bb2c0b3188b63a49bccb4a2a73827eecd1964a313000108032d"
	"dca16b3380000200010200020000020001010000000000000000ffffffffffffffff004047304502202a"
	"f47b22140f843783158227472b208e8fd5da449b26bb1e15dfc2841ad95f49022100f976dfe6b962be4b"
	"38db62d855f03f2d36d521f639d1054a7ddf99e2cad8bbe20040473045022100ad0c0bdfa7b9c997a346"
	"f53ae4db08af3ea6b13d16b673496c89dcd7ec18439f02200b90838001005147d39db07bb3015043eab7"
	"e2fe3b40a1d7baf4728145f83e11";

static const char welcome[] =
	"0002409820fb336dde3868f7b733f8733a246bc1f46c5e7788447fcd8d0f2ee3906e80591a40410485ed"
	"e31c0b0612c45ac4c26c7460c95b60b93874ce34fbdabc59766bd44abc17b9067e028df1360cb3954c57"
	"8edbe1a3b3f20b366885cb052ffc3c769965bc7f33a1a7ef5cdb13e2c77510bd3068bd50e857e6283972"
	"d51c2fb084dc182b5d300974ad27d27f996db909d0b8bac4c6569d81f4e6431e6f33457747d4e77f7a62"
	"b1b4cb3cda1e77c9fddfd7fc87650e6293884f472c52fddf33328b6670c9ca23fc71d8f971c7dc15766a"
	"46d4a99f0b53e61c053584973adb8b6832c68884a47322800ae7adc3966fd7da81f53327ea8d10597ee3"
	"ab95b97460fc12655e9e748e21ea18278794f6f5f8df74b64d8d65ad638b962873d4fe9e0efa685632f4"
	"bc8dc2d629523da19ee344c5534ec570c7d966dfe50a3b241244bfe023b5e7226c08ac3a9ab7a1642455"
	"4e0f0c84b2398d827cd41a4fda8515b2dfbbd87813f760966f6efcc33afb535a3fa600550d34efecdf58"
	"33c0fef136d052fc3eeb584372ceaf2ccf04fce8b8fc3d8783af49ef7fa7cd982fcf290ff178735ea0c5"
	"133d0e799731903190a7b9bd69ed6d0a0157d4bcffa438c3f3ca44076231ff91caa3e4fefe7697b8b8da"
	"df1f776f97a63f09b7fe54245a14b1629cf7623439d2967ea340b87865c6c49b8ecc1f1aecbb3ba13625"
	"f1bf4ec8f1297917bf56dd95307f32b09ad016efee51a485b8b5ade88eee6d467cb618f5e9817c75483e"
	"6603f93eb5e9a8d533130b58c97701161abc7c72fc92dc383ee49abf26da7cff88f958129c0abc6b4dee"
	"39c71e6803b1469eab8f098a350fd5ba90003a51a21ac96a0be28d8a14690e476f2893a6380d6440ac55"
	"f46922715cfd365a0d5dcb43e12d1a587c68872015e95b0e5bb3431aca4cf53d5d53fdb085570383c7bf"
	"222883141d4f79a073da73ea26930697cd68deecf3ac7d43f54cb91a3e39fd429849f47f291f24820414"
	"1a1e12fd5f2881ba7895333cb09e772f0c59b4aaa15e2291fb34604d5ee85082f4cc4a80420a0127e4a6"
	"65aec517930d617065839676f5c397c0e9c6d928a6b4a32530fb92ce727fa7359d26ba9b418703cea215"
	"5febc8096e02d1d87e3cca5409da5a15d5d402e300cef024db45debd8f4b6f29c66cd98b18b1853682ad"
	"6599a9db534636ac9ada9255f2daf38597e0696ebe554219611204e3eaa05d844d2d900e3ec5c146e9ca"
	"cf9daca23d30507c7782a72cee1ca88761b5af05709dba7304a7ca87ff2e525a8d5ab683bf47d4fb9a4a"
	"8371da99d11c6250399f64aaafedcfec881bb531f646e291afb1b974d94bec1d";

static const char proposals_1[] =
	"0041f10001000108137621f70b364b870000000000000001020000000000020001000100024041044f73"
	"63b6548dbf39a77454a76169aa5ce118e9484f3de4a7b8ceab2679ead9cb132bdd655c948358ef2d8c32"
	"b7dfb3895caaaa009490e0350443c54c397c2b674041040257033b3e13a2e7d939d485613092bdc75b7d"
	"999ddb32c9de637b52080593a76c7ca9da76b6e77c292b15985227b210d5c964b54f0df3d4cd0bb873fa"
	"dd80d740410476437221538359729ebe905266d67426b7d2a6edc7077c56f1d5375992915d907b1d3f62"
	"d93f05429313856512ba6eb22725c606e1e4c98fe8c7f8e32de6f4bc00010804c68adcbd208000020001"
	"0200020000020001010000000000000000ffffffffffffffff00404830460221009c0828bc51216e1fd3"
	"54bf5673bc9aa4a0bfdfd1627afcbfff01ab9c7fb4a7d8022100e446cd940b1f83213842de0db3b9711b"
	"d879108be21fbe65949717192fae1d9b0040473045022100c5728a1783d76e679ed1b12da00d57d3df06"
	"27c7ebe0f9a76b569d62aecfa09002206ea4c668591334b08a51898888be7818d51d1c5ee604b6de6917"
	"c43d09ab43b5404830460221009a6e06b44c7fead24de09f522d5e3419eb20f52d3c0cb0074fd32a8e8a"
	"b4e27d022100cce91b10dc855b86f558ed5148b2225a7358b671804e12fc75ee6602a3fddf13";

static const char commit_1[] =
	"0001000108137621f70b364b870000000000000001010000000000032202201b8fc08230a7fa51f45630"
	"5586cda03c99045715835b3fe33b343a5b021dd2560040483046022100c51899570fab2ac52f11c3b5fa"
	"3cc7d5b211c5f7865bf9d9cbb8e90f6b11335f02210095c97c1317034c54535479730ba3032181a3d656"
	"5551380221118bf817baff97209883c5fe54daf3fab31bed008127234ff935202151fa29b70d85b4d015"
	"9756d120129ac3f166ad35bbb13433255ce923505118fdb174f97de628056c00037b34ce";

static const char proposals_2[] =
	"00406b0001000108137621f70b364b870000000000000002020000000000020003000000024047304502"
	"2100c50cc29c6f85103bfad4ae2037d545e14db0588e3c01bf535fa4c2c56c7215ff022013161d59021d"
	"7d3a6680d34344be0e06591fc41e1c9752c9b74f40c9bbc63550";

static const char commit_2[] =
	"0001000108137621f70b364b870000000000000002010000000000032202204539b50742e27ad3b37763"
	"3a22faa196fef2b0c40fdb979a9176d9149d5b9d240140410401b63b440398c71d8c475329f26909fa15"
	"8e367e1cc0a95e545733dddc1d630d32dafebd324451dda0b7e6677d140d218402b47d0eab69ca6fb826"
	"7ab54209f8404104a1848b68b1e88c0b87359f997203811dbaad31fa5c7842460702c97812e6f08b2a73"
	"5248951e2b2492146c525ed4d1ec639646e2e9474c1882f7fd254e1d06a20001080227334ab882000002"
	"000102000200000200010320b4910b11465f05d88ae712eaf10d252658094ba8eb2b72113027297163e0"
	"07950040483046022100f1947922fb4694b4a300c53204826e71ac062c6e703c7ee3c46036507c533e72"
	"022100af275b71bdddc374fff71447961d2c53ab1c632d5bf39effafc34ecb70b7f2f740b94041047e3d"
	"5f8392b2d3ea8efbbbe66b805dcd3e35050f1fbb362d29dfb7f39e5068e52362e4b8a8c3f20c7a72db45"
	"63ca38eb99c198caf2855093eae88bf27c2448f740744041048f2e9a21f2d363a263535dc35e44314ddd"
	"f5e20f10d5ca72aecf6fca5047216dd387d78cccf230a212b66836840b1f52082a82287935197cf8e160"
	"0f55dac04c3059060d7fb21e925007e0e13de08cf60282fa300fd7cbecb55fad3729f1f76f0818841108"
	"36d0ea2dc764e8b655072ad240483046022100de84f82ccdaf9a539287d182600fa3aa70ebd352ea35f0"
	"429ba63abc0428c467022100e0ad9209a6b4677886036bc17b574ed269e0ac36be293cc9411f9776a538"
	"f143204deb5e874d9aebfdf15d948983bd74c277cec2e2c07b3a4084d0efb44e1936742039996dfa0f42"
	"0b5c7bc3878bbc79b914b321d5cb37ff9667a9aa755c10c7edfd";

static struct mls_span hex(const char *text, uint8_t *out, size_t cap)
{
	size_t len;

	assert_int_equal(sodium_hex2bin(out, cap, text, strlen(text), NULL, &len, NULL), 0);
	return mls_span(out, len);
}

static void is_hex(const uint8_t *got, size_t n, const char *want)
{
	uint8_t bytes[64];

	assert_int_equal(hex(want, bytes, sizeof(bytes)).len, n);
	assert_memory_equal(got, bytes, n);
}

static void base_is(const struct mls_group *g, uint64_t user, const char *want)
{
	uint8_t base[MLS_HASH_LEN];
	uint8_t context[8];
	uint8_t out[16];
	size_t i;

	for (i = 0; i < 8; i++)
		context[i] = (uint8_t)(user >> (8 * i));
	mls_group_exporter_base(g, "Discord Secure Frames v0", base);
	mls_exporter_from_base(out, sizeof(out), base, mls_span(context, sizeof(context)));
	is_hex(out, sizeof(out), want);
}

static struct mls_group *step(struct mls_ctx *cx, struct mls_group *g, const char *proposals,
	const char *commit)
{
	struct mls_commit_info info;
	struct mls_own_commit *own;
	struct mls_group *next;
	struct mls_proposal *p;
	uint8_t bytes[2048];
	struct mls_span list;
	struct rd r;

	list = hex(proposals, bytes, sizeof(bytes));
	rd_init(&r, list.p, list.len);
	assert_int_equal(rd_u8(&r), 0); /* append */
	list = mls_rd_vec(&r);
	assert_true(rd_done(&r));
	assert_int_equal(mls_proposal_open(cx, g, list, &p), 0);
	assert_int_equal(p->sender_type, MLS_SENDER_EXTERNAL);
	assert_int_equal(mls_group_store(cx, g, p), 0);
	assert_int_equal(mls_group_commit(cx, g, 0, &own), 0); /* ours, which will lose */
	mls_own_commit_free(own);
	assert_int_equal(mls_group_process(cx, g, hex(commit, bytes, sizeof(bytes)),
				 MLS_PROCESS_REFERENCES_ONLY, &next, &info),
		0);
	assert_int_equal(info.committer, 0);
	mls_group_free(g);
	return next;
}

static void session(void **state)
{
	const uint64_t a = 155149108183695360u;
	const uint64_t we = 229081741912145920u;
	const uint64_t b = 344115102210883584u;
	struct mls_ctx cx = { .random = mls_random_system };
	struct mls_own_package *own;
	struct mls_package_keys keys;
	struct mls_external_sender sender;
	struct mls_group *g;
	uint8_t bytes[2048];

	(void)state;
	hex("0295691e6c597b9fe99a9072c886d316219ffeab883091b0540119bc957dc9ba", keys.signature, 32);
	hex("c1cf3cda0a44965cbdaa61d7180cde0549787bdb0b2944255c7328b1543eb3ce", keys.init, 32);
	hex("f3f18490bf6ea39ec840fb2d9376f8adcaf5e1409a86c82f10710f1b87011866", keys.leaf, 32);
	assert_int_equal(mls_own_package_load(&cx, &own, hex(key_package, bytes, sizeof(bytes)),
				 &keys),
		0);
	is_hex(own->ref, 32, "fb336dde3868f7b733f8733a246bc1f46c5e7788447fcd8d0f2ee3906e80591a");
	assert_int_equal(mls_key_package_check(&cx, &own->package), 0);

	assert_int_equal(mls_group_join(&cx, &g, own, hex(welcome, bytes, sizeof(bytes)), NULL), 0);
	mls_own_package_free(own);
	assert_int_equal(mls_group_epoch(g), 1);
	assert_int_equal(mls_group_own_leaf(g), 1);
	assert_true(mls_external_sender_find(mls_group_context(g)->extensions, 0, &sender));
	assert_true(mls_span_equal(sender.raw, hex(external_sender, bytes, sizeof(bytes))));
	assert_false(mls_external_sender_find(mls_group_context(g)->extensions, 1, &sender));
	is_hex(mls_group_context(g)->tree_hash.p, 32,
		"1f91b8d49210201d09e47d8c1c4900a43bab4fe2b3551de25f404b2adfa2433c");
	is_hex(mls_group_interim_hash(g), 32,
		"f7716c2a3d96b6ba83d185dcec807e620e8244b4e3d0bdcde601278b8b7b406a");
	is_hex(mls_group_authenticator(g), 32,
		"cd7d8613035d9cab6361219ec090876839607ada1205419c0a00132cb667b739");
	base_is(g, a, "0cb3983a9caf4060c2d58fa3434253fa");
	base_is(g, we, "5f94f151ff5c581449b909f969559b7b");

	g = step(&cx, g, proposals_1, commit_1);
	is_hex(mls_group_context(g)->confirmed_hash.p, 32,
		"38fab18c23b834a2016226646fa5e4a07f840d16f6fdbab806521b9ac844bdbd");
	is_hex(mls_group_authenticator(g), 32,
		"72c00953ec538876666c5509c8d6092bc8ebf8d019b4630ac824d96b505ddbf7");
	base_is(g, b, "257702448dab5644f25160211fdd4964");
	assert_int_equal(mls_group_n_leaves(g), 4);

	g = step(&cx, g, proposals_2, commit_2);
	is_hex(mls_group_context(g)->tree_hash.p, 32,
		"a8a9e78aa589d09602a0b75bae5db058aff29775c868b2385b35b9b03a6fad23");
	is_hex(mls_group_authenticator(g), 32,
		"90a28e9e9160e4d24b0a21a63c43ac9bd134eafa6e667677cb68ebed08369738");
	base_is(g, a, "7309b78733507a3a5b9118238b55c1b0");
	assert_int_equal(mls_group_n_leaves(g), 2);
	mls_group_free(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
