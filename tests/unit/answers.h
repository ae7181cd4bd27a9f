/*
 * Texts of models, and what they mean: content, reasoning, calls. Most are those that llama.cpp tests
 * (tests/test-chat.cpp, commit 0042e2079d34, November 2026). It makes up no ids where a model gives none; we
 * do (NULL here). Of harmony's calls of tools that are no functions it expects nothing; ours stay content,
 * and are not here. Its comparisons, and ours, leave out the space around content and reasoning.
 */
#ifndef NUT_TESTS_ANSWERS_H
#define NUT_TESTS_ANSWERS_H

#include <stddef.h>

/* No call where name is NULL. */
typedef struct expected_call {
    const char *name, *arguments, *id;
} expected_call;

typedef struct expected_answer {
    const char *format, *prompt, *tools, *template, *text;
    const char *content, *reasoning;
    expected_call calls[3];
} expected_answer;

#define HELLO            "Hello, world!\nWhat's up?"
#define THOUGHT          "I'm\nthinking"
#define SPECIAL          {"special_function", "{\"arg1\":1}", NULL}
#define WITH_OPT         {"special_function_with_opt", "{\"arg1\":1,\"arg2\":2}", NULL}
#define CITY(name, city) {name, "{\"city\":\"" city "\"}", NULL}
#define THINK            "<think>" // a template that knows reasoning
#define CALL_JSON        "{\"name\": \"special_function\", \"arguments\": {\"arg1\": 1}}"
#define TWO_ARGUMENTS    "{\"arg1\": 1, \"arg2\": 2}"
#define OPT_JSON         "{\"name\": \"special_function_with_opt\", \"arguments\": " TWO_ARGUMENTS "}"

static const expected_answer answers[] = {
    /* Hermes 2 and 3, Qwen 2.5, QwQ, Granite 4, Reka Edge, MiMo-VL */
    {.format = "hermes", .text = HELLO, .content = HELLO},
    {.format = "hermes", .text = "<tool_call>\n" CALL_JSON "</tool_call>", .calls = {SPECIAL}},
    {.format = "hermes", .text = "<tool_call>\n" CALL_JSON "\n</tool_call>", .calls = {SPECIAL}},
    {.format = "hermes",
     .text = HELLO "<tool_call>\n" CALL_JSON "</tool_call>",
     .content = HELLO,
     .calls = {SPECIAL}},
    {.format = "hermes",
     .text = HELLO "\n<tool_call>\n" CALL_JSON "\n</tool_call>",
     .content = HELLO,
     .calls = {SPECIAL}},
    {.format = "hermes",
     .text = "<tool_call>\n" CALL_JSON "</tool_call><tool_call>\n" OPT_JSON "</tool_call>",
     .calls = {SPECIAL, WITH_OPT}},
    {.format = "hermes",
     .text = "<tool_call>\n" CALL_JSON "\n</tool_call>\n<tool_call>\n" OPT_JSON "\n</tool_call>",
     .calls = {SPECIAL, WITH_OPT}},
    {.format = "hermes",
     .text = "<tool_call>\n{\"name\": \"empty_args\", \"arguments\": {}}</tool_call>",
     .calls = {{"empty_args", "{}", NULL}}},
    {.format = "hermes",
     .template = THINK,
     .prompt = "assistant: <think>\n",
     .text = "I need to call a function\n</think>\n\nLet me check the time.<tool_call>\n{\"name\": "
             "\"get_time\", \"arguments\": "
             "{\"city\": \"XYZCITY\"}}</tool_call>",
     .reasoning = "I need to call a function",
     .content = "Let me check the time.",
     .calls = {CITY("get_time", "XYZCITY")}},
    {.format = "hermes",
     .template = THINK,
     .prompt = "<think>\n",
     .text = THOUGHT "\n</think>\n\n<tool_call>\n" CALL_JSON "</tool_call>",
     .reasoning = THOUGHT,
     .calls = {SPECIAL}},
    {.format = "hermes",
     .template = THINK,
     .prompt = "<think>\n",
     .text = "Let me think about <tool_call>\n{\"name\": \"special_function\", \"arguments\": {\"arg1\": "
             "2}}</tool_call> hmm\n"
             "</think>\n\n<tool_call>\n" CALL_JSON "</tool_call>",
     .reasoning = "Let me think about <tool_call>\n{\"name\": \"special_function\", \"arguments\": "
                  "{\"arg1\": 2}}</tool_call> hmm",
     .calls = {SPECIAL}},
    {.format = "hermes",
     .template = THINK,
     .prompt = "<think>\n",
     .text = "Let me think about this...\n</think>\nThe answer is 42.",
     .reasoning = "Let me think about this...",
     .content = "The answer is 42."},
    {.format = "hermes",
     .template = THINK,
     .prompt = "<think>\n",
     .text = "</think>Hello, world!",
     .content = "Hello, world!"},

    /* Qwen3-Coder, Qwen3.5, Nemotron 3 Nano, StepFun 3.5 */
    {.format = "qwen3-coder", .text = HELLO, .content = HELLO},
    {.format = "qwen3-coder",
     .text = "<tool_call>\n<function=special_function>\n<parameter=arg1>\n1\n</parameter>\n</function>\n</"
             "tool_call>",
     .calls = {SPECIAL}},
    {.format = "qwen3-coder",
     .text = "<function=special_function>\n<parameter=arg1>\n1\n</parameter>\n</function>\n</tool_call>",
     .calls = {SPECIAL}},
    {.format = "qwen3-coder",
     .content = "Let me call it.\n",
     .text =
         "Let me call "
         "it.\n<function=special_function>\n<parameter=arg1>\n1\n</parameter>\n</function>\n</tool_call>",
     .calls = {SPECIAL}},
    {.format = "qwen3-coder",
     .text = "<tool_call>\n<function=special_function>\n<parameter=arg1>\n1\n</parameter>\n</function>\n</"
             "tool_call>\n<tool_call>\n"
             "<function=special_function_with_opt>\n<parameter=arg1>\n1\n</"
             "parameter>\n<parameter=arg2>\n2\n</parameter>\n</function>\n"
             "</tool_call>\n",
     .calls = {SPECIAL, WITH_OPT}},
    {.format = "qwen3-coder",
     .text = "<function=special_function>\n<parameter=arg1>\n1\n</parameter>\n</function>\n</"
             "tool_call>\n<tool_call>\n"
             "<function=special_function_with_opt>\n<parameter=arg1>\n1\n</"
             "parameter>\n<parameter=arg2>\n2\n</parameter>\n</function>\n"
             "</tool_call>",
     .calls = {SPECIAL, WITH_OPT}},
    {.format = "qwen3-coder",
     .text = "<tool_call>\n<function=python>\n<parameter=code>\ndef hello():\n    print(\"Hello, "
             "world!\")\n\nhello()\n</parameter>\n"
             "</function>\n</tool_call>",
     .calls = {{"python", "{\"code\":\"def hello():\\n    print(\\\"Hello, world!\\\")\\n\\nhello()\"}",
                NULL}}},
    {.format = "qwen3-coder",
     .text = "<tool_call>\n<function=python>\n<parameter=code>\n格\n</parameter>\n</function>\n</tool_call>",
     .calls = {{"python", "{\"code\":\"格\"}", NULL}}},
    {.format = "qwen3-coder",
     .text = "<tool_call>\n<function=html>\n<parameter=markup>\n<html>\n <head>\n  <title>Hello!</title>\n "
             "</head>\n</html>\n"
             "</parameter>\n</function>\n</tool_call>",
     .calls = {{"html", "{\"markup\":\"<html>\\n <head>\\n  <title>Hello!</title>\\n </head>\\n</html>\"}",
                NULL}}},
    {.format = "qwen3-coder",
     .text = "<tool_call>\n<function=todo_list>\n<parameter=todos>\n[{\"item\": \"Check stuff\", "
             "\"selected\": false}, {\"item\": "
             "\"Prepare stuff\", \"selected\": true}]\n</parameter>\n</function>\n</tool_call>",
     .calls = {{"todo_list",
                "{\"todos\":[{\"item\":\"Check stuff\",\"selected\":false},{\"item\":\"Prepare "
                "stuff\",\"selected\":true}]}",
                NULL}}},
    {.format = "qwen3-coder",
     .text = "<tool_call>\n<function=edit>\n<parameter=filename>\nfoo.c\n</"
             "parameter>\n<parameter=oldString>\n#iclunde\n</parameter>\n"
             "<parameter=newString>\n#include\n\n</parameter>\n</function>\n</tool_call>",
     .calls = {{"edit", "{\"filename\":\"foo.c\",\"oldString\":\"#iclunde\",\"newString\":\"#include\\n\"}",
                NULL}}},
    {.format = "qwen3-coder",
     .text = "<tool_call>\n<function=python>\n<parameter=code>\n    print(\"Hello, world!\")\n</parameter>\n"
             "</function>\n</tool_call>",
     .calls = {{"python", "{\"code\":\"    print(\\\"Hello, world!\\\")\"}", NULL}}},
    {.format = "qwen3-coder",
     .text = "<tool_call>\n<function=empty_args>\n</function>\n</tool_call>",
     .calls = {{"empty_args", "{}", NULL}}},
    {.format = "qwen3-coder",
     .template = THINK,
     .prompt = "<think>\n",
     .reasoning = THOUGHT,
     .calls = {SPECIAL},
     .text = THOUGHT "\n</think>\n\n<tool_call>\n<function=special_function>\n<parameter=arg1>\n1\n</"
                     "parameter>\n</function>\n</tool_call>"},
    {.format = "qwen3-coder",
     .template = THINK,
     .prompt = "<think>\n",
     .reasoning = "Need to inspect the current directory.",
     .text = "Need to inspect the current "
             "directory.\n<tool_call>\n<function=run_in_terminal>\n<parameter=command>\npwd\n</parameter>\n"
             "</function>\n</tool_call>",
     .calls = {{"run_in_terminal", "{\"command\":\"pwd\"}", NULL}}},
    {.format = "qwen3-coder",
     .template = THINK,
     .prompt = "<think>\n",
     .reasoning = "I should inspect the directory.",
     .content = "Let me inspect it now.\n",
     .text = "I should inspect the directory.\n</think>\n\nLet me inspect it "
             "now.\n<tool_call>\n<function=run_in_terminal>\n"
             "<parameter=command>\npwd\n</parameter>\n</function>\n</tool_call>",
     .calls = {{"run_in_terminal", "{\"command\":\"pwd\"}", NULL}}},
    {.format = "qwen3-coder", // types, by the schemas of the tools
     .tools = "[{\"type\": \"function\", \"function\": {\"name\": \"magic\", \"parameters\": {\"type\": "
              "\"object\", \"properties\": "
              "{\"name\": {\"type\": \"string\"}, \"ref\": {\"type\": \"string\"}}}}}]",
     .text = "<tool_call>\n<function=magic>\n<parameter=name>\nfooBar\n</"
             "parameter>\n<parameter=ref>\n5123123\n</parameter>\n</function>\n"
             "</tool_call>",
     .calls = {{"magic", "{\"name\":\"fooBar\",\"ref\":\"5123123\"}", NULL}}},
    {.format = "qwen3-coder",
     .tools = "[{\"name\": \"string_param\", \"parameters\": {\"properties\": {\"text\": {\"type\": "
              "\"string\"}}}}]",
     .text =
         "<tool_call>\n<function=string_param>\n<parameter=text>\n\n</parameter>\n</function>\n</tool_call>",
     .calls = {{"string_param", "{\"text\":\"\"}", NULL}}},
    {.format = "qwen3-coder",
     .tools = "[{\"name\": \"quoted_unquoted\", \"parameters\": {\"properties\": {\"quoted\": {\"type\": "
              "\"string\"}, \"unquoted\": "
              "{\"type\": \"string\"}}}}]",
     .text = "<tool_call>\n<function=quoted_unquoted>\n<parameter=quoted>\n\"printf(\\\"foo\\\");\"\n</"
             "parameter>\n<parameter=unquoted>\n"
             "printf(\"foo\");\n</parameter>\n</function>\n</tool_call>",
     .calls =
         {{"quoted_unquoted",
           "{\"quoted\":\"\\\"printf(\\\\\\\"foo\\\\\\\");\\\"\",\"unquoted\":\"printf(\\\"foo\\\");\"}",
           NULL}}},
    {.format = "qwen3-coder",
     .tools = "[{\"name\": \"set_nullable_str\", \"parameters\": {\"properties\": {\"name\": {\"type\": "
              "[\"null\", "
              "\"string\"]}}}}]",
     .text = "<tool_call>\n<function=set_nullable_str>\n<parameter=name>\nhello "
             "world\n</parameter>\n</function>\n</tool_call>",
     .calls = {{"set_nullable_str", "{\"name\":\"hello world\"}", NULL}}},
    {.format = "qwen3-coder",
     .tools = "[{\"name\": \"set_nullable_str\", \"parameters\": {\"properties\": {\"name\": {\"type\": "
              "[\"string\", "
              "\"null\"]}}}}]",
     .text = "<tool_call>\n<function=set_nullable_str>\n<parameter=name>\nnull\n</parameter>\n</"
             "function>\n</tool_call>",
     .calls = {{"set_nullable_str", "{\"name\":null}", NULL}}},
    {.format = "qwen3-coder",
     .tools =
         "[{\"name\": \"set_union\", \"parameters\": {\"properties\": {\"value\": {\"type\": [\"string\", "
         "\"object\"]}, \"amount\": {\"type\": [\"string\", \"integer\"]}}}}]",
     .text = "<tool_call>\n<function=set_union>\n<parameter=value>\n{not valid "
             "json\n</parameter>\n<parameter=amount>\n42\n</parameter>\n"
             "</function>\n</tool_call>",
     .calls = {{"set_union", "{\"value\":\"{not valid json\",\"amount\":42}", NULL}}},
    {.format = "qwen3-coder",
     .text = "<tool_call>\n<function=set_union>\n<parameter=value>\n{\"a\": "
             "1}\n</parameter>\n<parameter=amount>\n"
             "2 dollars\n</parameter>\n</function>\n</tool_call>",
     .calls = {{"set_union", "{\"value\":{\"a\":1},\"amount\":\"2 dollars\"}", NULL}}},
    {.format = "qwen3-coder",
     .text =
         "<tool_call>\n<function=magic_int>\n<parameter=ref>\n-14\n</parameter>\n</function>\n</tool_call>",
     .calls = {{"magic_int", "{\"ref\":-14}", NULL}}},
    {.format = "qwen3-coder",
     .text = "<tool_call>\n<function=imaginary_number>\n<parameter=number>\n{ \"real\": 3.14, "
             "\"imaginary\": 2.71 }\n"
             "</parameter>\n</function>\n</tool_call>",
     .calls = {{"imaginary_number", "{\"number\":{\"real\":3.14,\"imaginary\":2.71}}", NULL}}},

    /* Seed-OSS */
    {.format = "seed",
     .template = "<seed:think>",
     .text = "<seed:think>I'm thinking about the answer</seed:think>\nHello, world!",
     .content = "Hello, world!",
     .reasoning = "I'm thinking about the answer"},
    {.format = "seed",
     .text = "<seed:tool_call>\n<function=special_function>\n<parameter=arg1>1</parameter>\n</function>\n</"
             "seed:tool_call>",
     .calls = {SPECIAL}},
    {.format = "seed",
     .text = "<seed:tool_call>\n<function=edit>\n<parameter=filename>foo.cpp</"
             "parameter>\n<parameter=oldString>def foo(arg = \"14\"):\n"
             "    return arg + \"bar\"\n</parameter>\n<parameter=newString>def foo(arg = \"15\"):\n    "
             "pass\n</parameter>\n</function>\n"
             "</seed:tool_call>",
     .calls = {{"edit",
                "{\"filename\":\"foo.cpp\",\"oldString\":\"def foo(arg = \\\"14\\\"):\\n    return arg + "
                "\\\"bar\\\"\\n\","
                "\"newString\":\"def foo(arg = \\\"15\\\"):\\n    pass\\n\"}",
                NULL}}},

    /* MiniMax-M2, DeepSeek V3.2 */
    {.format = "minimax",
     .template = THINK,
     .prompt = "<think>\n",
     .reasoning = "Let's call a tool:",
     .calls = {{"empty_args", "{}", NULL}},
     .text = "Let's call a tool:\n</think>\n\n<minimax:tool_call>\n<invoke "
             "name=\"empty_args\">\n</invoke>\n</minimax:tool_call>"},
    {.format = "minimax",
     .template = THINK,
     .prompt = "<think>\n",
     .calls = {SPECIAL},
     .text = "\n</think>\n\n<minimax:tool_call>\n<invoke name=\"special_function\">\n<parameter "
             "name=\"arg1\">1</parameter>\n</invoke>\n"
             "</minimax:tool_call>"},
    {.format = "deepseek-v3.2",
     .template = THINK,
     .prompt = "<think>",
     .reasoning = "Calling both",
     .calls = {CITY("get_time", "Paris"), CITY("get_weather", "Paris")},
     .text = "Calling both</think>\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke "
             "name=\"get_time\">\n<｜DSML｜parameter name=\"city\" "
             "string=\"true\">Paris</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke "
             "name=\"get_weather\">\n<｜DSML｜parameter "
             "name=\"city\" "
             "string=\"true\">Paris</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>"},
    {.format = "deepseek-v3.2",
     .template = THINK,
     .prompt = "<think>",
     .reasoning = "Thinking about it",
     .content = "Let me call the function.",
     .calls = {SPECIAL},
     .text = "Thinking about it</think>Let me call the "
             "function.\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"special_function\">\n"
             "<｜DSML｜parameter name=\"arg1\" "
             "string=\"false\">1</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>"},

    /* GLM 4.6, 4.7 Flash; Spark 2.5 and Ling 3.0 write the same */
    {.format = "glm",
     .text = "<tool_call>special_function\n<arg_key>arg1</arg_key>\n<arg_value>1</arg_value>\n</tool_call>",
     .calls = {SPECIAL}},
    {.format = "glm",
     .template = THINK,
     .prompt = "<think>",
     .reasoning = THOUGHT,
     .calls = {SPECIAL},
     .text = THOUGHT
     "</think><tool_call>special_function<arg_key>arg1</arg_key><arg_value>1</arg_value></tool_call>"},
    {.format = "glm",
     .text =
         "<tool_call>special_function<arg_key>arg1</arg_key><arg_value>1</arg_value></tool_call><tool_call>"
         "special_function_with_opt<arg_key>arg1</arg_key><arg_value>1</arg_value><arg_key>arg2</"
         "arg_key><arg_value>2"
         "</arg_value></tool_call>",
     .calls = {SPECIAL, WITH_OPT}},
    {.format = "glm",
     .template = THINK,
     .prompt = "<think>",
     .reasoning = "Let me read the diff content.",
     .text = "Let me read the diff content.</think><tool_call>read_file_diff_md</tool_call>",
     .calls = {{"read_file_diff_md", "{}", NULL}}},
    {.format = "glm",
     .text =
         "Preparing "
         "updates.<tool_call>magic_int<arg_key>ref</arg_key><arg_value>42</arg_value><arg_key>name</arg_key>"
         "<arg_value>上海</arg_value></tool_call><tool_call>toggle<arg_key>enabled</"
         "arg_key><arg_value>true</arg_value>"
         "</tool_call><tool_call>set_config<arg_key>config</arg_key><arg_value>{\"source\": \"spark\", "
         "\"options\": "
         "{\"strict\": true}}</arg_value></tool_call>",
     .content = "Preparing updates.",
     .calls = {{"magic_int", "{\"ref\":42,\"name\":\"上海\"}", NULL},
               {"toggle", "{\"enabled\":true}", NULL},
               {"set_config", "{\"config\":{\"source\":\"spark\",\"options\":{\"strict\":true}}}", NULL}}},
    {.format = "glm",
     .template = THINK,
     .prompt = "<think>",
     .reasoning = "I need to check the time first.\n",
     .calls = {CITY("get_time", "Paris")},
     .text =
         "I need to check the time "
         "first.\n<tool_call>get_time\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>"},
    {.format = "glm",
     .content = "\nThe time has been checked.",
     .calls = {CITY("get_time", "Paris")},
     .text = "<tool_call>get_time\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n</tool_call>\nThe "
             "time has been checked."},
    {.format = "glm",
     .template = THINK,
     .prompt = "<think>",
     .reasoning = "check this\n",
     .text = "check this\n</think>\n<tool_call>tool_2req_4opt\n<arg_key>req1</arg_key>\n<arg_value>contains "
             "</think> and <tool_call> strings"
             "</arg_value>\n<arg_key>req2</arg_key>\n<arg_value>1</arg_value>\n</tool_call>",
     .calls = {{"tool_2req_4opt", "{\"req1\":\"contains </think> and <tool_call> strings\",\"req2\":1}",
                NULL}}},

    /* DeepSeek R1, V3, V3.1 */
    {.format = "deepseek",
     .template = THINK,
     .prompt = "<think>\n",
     .text = "</think>" HELLO,
     .content = HELLO},
    {.format = "deepseek",
     .template = THINK,
     .prompt = "<think>\n",
     .text = THOUGHT "</think>" HELLO,
     .content = HELLO,
     .reasoning = THOUGHT},
    {.format = "deepseek",
     .template = THINK,
     .prompt = "<think>\n",
     .calls = {SPECIAL},
     .text = "</"
             "think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>special_function\n```"
             "json\n{\"arg1\": 1}```"
             "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"},
    {.format = "deepseek",
     .calls = {CITY("get_time", "XYZCITY")},
     .text = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_time<｜tool▁sep｜>{\"city\": "
             "\"XYZCITY\"}<｜tool▁call▁end｜>"
             "<｜tool▁calls▁end｜>"},
    {.format = "deepseek",
     .template = THINK,
     .prompt = "<think>",
     .reasoning = "REASONING",
     .content = "CONTENT",
     .calls = {CITY("get_time", "Paris"), CITY("get_weather", "Paris")},
     .text = "REASONING</"
             "think>CONTENT<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_time<｜tool▁sep｜>{\"city\": "
             "\"Paris\"}"
             "<｜tool▁call▁end｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{\"city\": "
             "\"Paris\"}<｜tool▁call▁end｜>"
             "<｜tool▁calls▁end｜>"},
    {.format = "deepseek",
     .template = THINK,
     .prompt = "<think>",
     .text = "REASONING</think>\nCONTENT",
     .reasoning = "REASONING\n",
     .content = "CONTENT"},

    /* Gemma 4 */
    {.format = "gemma-4", .text = HELLO, .content = HELLO},
    {.format = "gemma-4",
     .template = "<|channel>thought\n",
     .text = "<|channel>thought\nI'm\nthinking<channel|>" HELLO,
     .content = HELLO,
     .reasoning = THOUGHT},
    {.format = "gemma-4",
     .template = "<|channel>thought\n",
     .text = "<|channel>thought<channel|>" HELLO,
     .content = HELLO},
    {.format = "gemma-4",
     .text = "<|tool_call>call:get_time{city:<|\"|>San Francisco<|\"|>}<tool_call|>",
     .calls = {CITY("get_time", "San Francisco")}},
    {.format = "gemma-4",
     .text = "<|tool_call>call:empty_args{}<tool_call|>",
     .calls = {{"empty_args", "{}", NULL}}},
    {.format = "gemma-4",
     .text = HELLO "<|tool_call>call:get_time{city:<|\"|>Paris<|\"|>}<tool_call|>",
     .content = HELLO,
     .calls = {CITY("get_time", "Paris")}},
    {.format = "gemma-4",
     .text = "<|tool_call>call:get_time{city:<|\"|>London<|\"|>}<tool_call|>"
             "<|tool_call>call:get_weather{city:<|\"|>Paris<|\"|>}<tool_call|>",
     .calls = {CITY("get_time", "London"), CITY("get_weather", "Paris")}},
    {.format = "gemma-4",
     .text = "<|tool_call>call:special_function{arg1:-7}<tool_call|>",
     .calls = {{"special_function", "{\"arg1\":-7}", NULL}}},
    {.format = "gemma-4",
     .text = "<|tool_call>call:amount{orig:1.5e10}<tool_call|>",
     .calls = {{"amount", "{\"orig\":1.5e10}", NULL}}},
    {.format = "gemma-4",
     .text = "<|tool_call>call:toggle{enabled:false}<tool_call|>",
     .calls = {{"toggle", "{\"enabled\":false}", NULL}}},
    {.format = "gemma-4",
     .text = "<|tool_call>call:set_nullable{value:null}<tool_call|>",
     .calls = {{"set_nullable", "{\"value\":null}", NULL}}},
    {.format = "gemma-4",
     .text = "<|tool_call>call:todo_list{todos:[<|\"|>buy milk<|\"|>,<|\"|>walk dog<|\"|>]}<tool_call|>",
     .calls = {{"todo_list", "{\"todos\":[\"buy milk\",\"walk dog\"]}", NULL}}},
    {.format = "gemma-4",
     .text = "<|tool_call>call:set_config{config:{theme:<|\"|>dark<|\"|>,count:3}}<tool_call|>",
     .calls = {{"set_config", "{\"config\":{\"theme\":\"dark\",\"count\":3}}", NULL}}},
    {.format = "gemma-4",
     .text = "<|tool_call>call:set_config{config:{}}<tool_call|>",
     .calls = {{"set_config", "{\"config\":{}}", NULL}}},
    /* Gemma 4: what its template writes of a text with marks, quotes and lines (it escapes nothing), and
     * what is no call */
    {.format = "gemma-4",
     .text = "<|tool_call>call:f{a:<|\"|>{x:1}, \"b\"<|\n\\<|\"|>,c:[{d:1},[]]}<tool_call|>",
     .calls = {{"f", "{\"a\":\"{x:1}, \\\"b\\\"<|\\n\\\\\",\"c\":[{\"d\":1},[]]}", NULL}}},
    {.format = "gemma-4",
     .text = "<|tool_call>call:f{a:b}<tool_call|>",
     .content = "<|tool_call>call:f{a:b}<tool_call|>"},
    {.format = "gemma-4", .text = "<|tool_call>call f", .content = "<|tool_call>call f"},
    /* Solar: what its template writes */
    {.format = "solar", .text = "<|content|>" HELLO "<|flush|>", .content = HELLO},
    {.format = "solar",
     .template = "<|think|>",
     .text = "<|think|>" THOUGHT "<|end|><|begin|>assistant<|content|>" HELLO,
     .content = HELLO,
     .reasoning = THOUGHT},
    {.format = "solar",
     .template = "<|think|>",
     .text = "<|think|>" THOUGHT
             "<|end|><|begin|>assistant<|tool_calls|><|tool_call:begin|>abc<|tool_call:name|>"
             "special_function<|tool_call:args|>{\"arg1\": 1}<|tool_call:end|><|calls|>",
     .reasoning = THOUGHT,
     .calls = {{"special_function", "{\"arg1\":1}", "abc"}}},
    {.format = "solar",
     .text = "<|tool_calls|><|tool_call:begin|>a<|tool_call:name|>get_time<|tool_call:args|>{\"city\":"
             "\"London\"}"
             "<|tool_call:end|><|tool_call:begin|>b<|tool_call:name|>get_weather<|tool_call:args|>{\"city\":"
             "\"Paris\"}<|tool_call:end|><|calls|>",
     .calls = {{"get_time", "{\"city\":\"London\"}", "a"}, {"get_weather", "{\"city\":\"Paris\"}", "b"}}},
    /* Kimi K2 */
    {.format = "kimi-k2", .text = HELLO, .content = HELLO},
    {.format = "kimi-k2",
     .calls = {{"special_function", "{\"arg1\":1}", "functions.special_function:0"}},
     .text = "<|tool_calls_section_begin|><|tool_call_begin|>functions.special_function:0<|tool_call_"
             "argument_begin|>{\"arg1\": 1}"
             "<|tool_call_end|><|tool_calls_section_end|>"},
    {.format = "kimi-k2",
     .template = THINK,
     .reasoning = "I need to call two functions",
     .calls = {{"special_function", "{\"arg1\":1}", "functions.special_function:0"},
               {"python", "{\"code\":\"print('hey')\"}", "functions.python:1"}},
     .text = "<think>I need to call two "
             "functions</think><|tool_calls_section_begin|><|tool_call_begin|>functions.special_function:0"
             "<|tool_call_argument_begin|>{\"arg1\": "
             "1}<|tool_call_end|><|tool_call_begin|>functions.python:1<|tool_call_argument_begin|>"
             "{\"code\": \"print('hey')\"}<|tool_call_end|><|tool_calls_section_end|>"},
    {.format = "kimi-k2",
     .template = THINK,
     .reasoning = "I need to call two functions",
     .calls = {{"special_function", "{\"arg1\":1}", "functions.special_function:0"},
               {"python", "{\"code\":\"print('hey')\"}", "functions.python:1"}},
     .text =
         "<think>I need to call two "
         "functions<|tool_call_begin|>functions.special_function:0<|tool_call_argument_begin|>{\"arg1\": 1}"
         "<|tool_call_begin|>functions.python:1<|tool_call_argument_begin|>{\"code\": \"print('hey')\"}"},
    {.format = "kimi-k2",
     .calls = {{"execute_command", "{\"command\":\"ls -lah\",\"cwd\":\"/srv/data\",\"timeout\":10}",
                "functions.execute_command:0"}},
     .text = "<|tool_call_begin|>functions.execute_command:0<|tool_call_argument_begin|>{\"command\": \"ls "
             "-lah\", \"cwd\": "
             "\"/srv/data\", \"timeout\": 10}"},

    /* Mistral Nemo, Small 3.2, Devstral, Ministral 3 */
    {.format = "mistral", .text = HELLO, .content = HELLO},
    {.format = "mistral",
     .calls = {{"special_function", "{\"arg1\":1}", "123456789"}},
     .text = "[TOOL_CALLS][{\"name\": \"special_function\", \"arguments\": {\"arg1\": 1}, \"id\": "
             "\"123456789\"}]"},
    {.format = "mistral",
     .calls = {{"special_function", "{\"arg1\":1}", "123456789"}},
     .text = "[TOOL_CALLS]special_function[CALL_ID]123456789[ARGS]{\"arg1\": 1}"},
    {.format = "mistral",
     .text = "[TOOL_CALLS]special_function[CALL_ID]000000001[ARGS]{\"arg1\": "
             "1}[TOOL_CALLS]special_function_with_opt"
             "[CALL_ID]000000002[ARGS]{\"arg1\": 1, \"arg2\": 2}",
     .calls = {{"special_function", "{\"arg1\":1}", "000000001"},
               {"special_function_with_opt", "{\"arg1\":1,\"arg2\":2}", "000000002"}}},
    {.format = "mistral",
     .text = HELLO "[TOOL_CALLS]special_function[ARGS]{\"arg1\": 1}",
     .content = HELLO,
     .calls = {SPECIAL}},
    {.format = "mistral",
     .template = "[THINK]",
     .text = "[THINK]" THOUGHT "[/THINK]" HELLO,
     .reasoning = THOUGHT,
     .content = HELLO},
    {.format = "mistral",
     .template = "[THINK]",
     .calls = {SPECIAL},
     .text = "[THINK]Let me think about [TOOL_CALLS]special_function[ARGS]{\"arg1\":1} and "
             "more[/THINK][TOOL_CALLS]special_function[ARGS]"
             "{\"arg1\": 1}",
     .reasoning = "Let me think about [TOOL_CALLS]special_function[ARGS]{\"arg1\":1} and more"},

    /* Command-R7B, Cohere2 MoE, Command-R+ */
    {.format = "command-r7b", .text = "<|START_RESPONSE|>" HELLO "<|END_RESPONSE|>", .content = HELLO},
    {.format = "command-r7b",
     .template = "<|START_THINKING|>",
     .reasoning = THOUGHT,
     .content = HELLO,
     .text = "<|START_THINKING|>" THOUGHT "<|END_THINKING|><|START_RESPONSE|>" HELLO "<|END_RESPONSE|>"},
    {.format = "command-r7b",
     .template = "<|START_THINKING|>",
     .reasoning = THOUGHT,
     .calls = {{"special_function", "{\"arg1\":1}", "0"}},
     .text = "<|START_THINKING|>" THOUGHT
             "<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": "
             "\"special_function\", \"parameters\": {\"arg1\": 1}}\n]<|END_ACTION|>"},
    {.format = "command-r7b",
     .template = "<|START_THINKING|>",
     .prompt = "<|START_THINKING|>",
     .reasoning = THOUGHT,
     .calls = {{"special_function", "{\"arg1\":1}", "0"}, {"python", "{\"code\":\"print('hey')\"}", "1"}},
     .text = THOUGHT "<|END_THINKING|><|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": "
                     "\"special_function\", \"parameters\": "
                     "{\"arg1\": 1}},\n    {\"tool_call_id\": \"1\", \"tool_name\": \"python\", "
                     "\"parameters\": {\"code\": \"print('hey')\"}}\n]"
                     "<|END_ACTION|>"},
    {.format = "command-r7b",
     .template = "<|START_THINKING|>",
     .prompt = "<|START_THINKING|>",
     .reasoning = THOUGHT,
     .content = HELLO,
     .text = THOUGHT "<|END_THINKING|><|START_TEXT|>" HELLO "<|END_TEXT|>"},
    {.format = "command-r", .text = "<|CHATBOT_TOKEN|>" HELLO "<|END_OF_TURN_TOKEN|>", .content = HELLO},
    {.format = "command-r",
     .text = "Action:\n```json\n[{\"tool_name\": \"special_function\", \"parameters\": {\"arg1\": 1}}]\n```",
     .calls = {SPECIAL}},

    /* functionary */
    {.format = "functionary-v3.1", .text = HELLO, .content = HELLO},
    {.format = "functionary-v3.1",
     .text = "<function=special_function>{\"arg1\": 1}</function>",
     .calls = {SPECIAL}},
    {.format = "functionary-v3.2",
     .prompt = "assistant<|end_header_id|>\n\n>>>",
     .text = "all\n" HELLO,
     .content = HELLO},
    {.format = "functionary-v3.2",
     .prompt = ">>>",
     .text = "special_function\n{\"arg1\": 1}",
     .calls = {SPECIAL}},

    /* LFM2, LFM2.5 */
    {.format = "lfm2",
     .text = "<|tool_call_start|>[special_function(arg1=1)]<|tool_call_end|>",
     .calls = {SPECIAL}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[get_time(city=\"XYZCITY\")]<|tool_call_end|>",
     .calls = {CITY("get_time", "XYZCITY")}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[toggle(enabled=True)]<|tool_call_end|>",
     .calls = {{"toggle", "{\"enabled\":true}", NULL}}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[set_nullable(value=None)]<|tool_call_end|>",
     .calls = {{"set_nullable", "{\"value\":null}", NULL}}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[set_config(config={\"enabled\": True, \"count\": 3})]<|tool_call_end|>",
     .calls = {{"set_config", "{\"config\":{\"enabled\":true,\"count\":3}}", NULL}}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[set_config(config={\"enabled\": true, \"note\": null})]<|tool_call_end|>",
     .calls = {{"set_config", "{\"config\":{\"enabled\":true,\"note\":null}}", NULL}}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[Calendar.create_event(title=\"demo\", participants=[\"Alice\", \"Bob\"], "
             "metadata={\"priority\": \"high\", "
             "\"reminder\": true})]<|tool_call_end|>",
     .calls = {{"Calendar.create_event",
                "{\"title\":\"demo\",\"participants\":[\"Alice\",\"Bob\"],\"metadata\":{\"priority\":"
                "\"high\",\"reminder\":true}}",
                NULL}}},
    {.format = "lfm2",
     .text = "Use this format: [link text](url). Example: [Wikipedia](https://www.wikipedia.org).",
     .content = "Use this format: [link text](url). Example: [Wikipedia](https://www.wikipedia.org)."},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[python(code=\"def hello():\\n    print('hey')\")]<|tool_call_end|>",
     .calls = {{"python", "{\"code\":\"def hello():\\n    print('hey')\"}", NULL}}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[python(code=\"First line\\nSecond line\\tindented\")]<|tool_call_end|>",
     .calls = {{"python", "{\"code\":\"First line\\nSecond line\\tindented\"}", NULL}}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[python(code=\"print(\\\"hi\\\")\")]<|tool_call_end|>",
     .calls = {{"python", "{\"code\":\"print(\\\"hi\\\")\"}", NULL}}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[special_function(arg1=1), special_function_with_opt(arg1=1, "
             "arg2=2)]<|tool_call_end|>",
     .calls = {SPECIAL, WITH_OPT}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[empty_args()]<|tool_call_end|>",
     .calls = {{"empty_args", "{}", NULL}}},
    {.format = "lfm2",
     .template = THINK,
     .reasoning = "I need to call a function",
     .content = "Let me check the time.",
     .text = "<think>I need to call a function</think>Let me check the "
             "time.<|tool_call_start|>[get_time(city=\"Paris\")]<|tool_call_end|>",
     .calls = {CITY("get_time", "Paris")}},
    {.format = "lfm2",
     .template = THINK,
     .calls = {SPECIAL},
     .text = "<think>Let me think about <|tool_call_start|>[special_function(arg1=1)]<|tool_call_end|> "
             "hmm</think><|tool_call_start|>"
             "[special_function(arg1=1)]<|tool_call_end|>",
     .reasoning = "Let me think about <|tool_call_start|>[special_function(arg1=1)]<|tool_call_end|> hmm"},

    /* Granite 3.3, Apertus, Nemotron v2, Apriel 1.5, FireFunction, GigaChat 3.1 */
    {.format = "granite-3",
     .template = THINK,
     .text = "<think>" THOUGHT "</think>" HELLO,
     .reasoning = THOUGHT,
     .content = HELLO},
    {.format = "granite-3",
     .template = THINK,
     .text = "<think>" THOUGHT "</think><response>" HELLO "</response>",
     .reasoning = THOUGHT,
     .content = HELLO},
    {.format = "apertus",
     .text = "<|tools_prefix|>[{\"special_function\": {\"arg1\": 1}}]<|tools_suffix|>",
     .calls = {SPECIAL}},
    {.format = "nemotron-v2",
     .template = THINK,
     .prompt = "<think>\n",
     .reasoning = THOUGHT,
     .calls = {SPECIAL},
     .text = THOUGHT "\n</think>\n\n<TOOLCALL>[" CALL_JSON "]</TOOLCALL>\n"},
    {.format = "apriel", .text = "<tool_calls>[" CALL_JSON "]</tool_calls>", .calls = {SPECIAL}},
    {.format = "firefunction", .text = " functools[" CALL_JSON "]", .calls = {SPECIAL}},
    {.format = "gigachat-3.1",
     .text = HELLO "<|function_call|>" CALL_JSON,
     .content = HELLO,
     .calls = {SPECIAL}},

    /* gpt-oss, LLM-jp 4.1 */
    {.format = "harmony", .text = "<|channel|>final<|message|>" HELLO, .content = HELLO},
    {.format = "harmony", .text = "<|channel|>commentary<|message|>" HELLO, .content = HELLO},
    {.format = "harmony",
     .reasoning = THOUGHT,
     .content = HELLO,
     .text = "<|channel|>analysis<|message|>" THOUGHT
             "<|end|><|start|>assistant<|channel|>final<|message|>" HELLO},
    {.format = "harmony", .text = "<|channel|>analysis<|message|>" THOUGHT, .reasoning = THOUGHT},
    {.format = "harmony",
     .text = " to=functions.special_function<|channel|>analysis<|message|>{\"arg1\": 1}",
     .calls = {SPECIAL}},
    {.format = "harmony",
     .text = "<|channel|>analysis to=functions.special_function<|message|>{\"arg1\": 1}",
     .calls = {SPECIAL}},
    {.format = "harmony",
     .calls = {SPECIAL},
     .text = " to=functions.special_function<|channel|>analysis <|constrain|>json<|message|>{\"arg1\": 1}"},
    {.format = "harmony",
     .text = "<|channel|>commentary to=functions.special_function<|message|>{\"arg1\": 1}",
     .calls = {SPECIAL}},
    {.format = "harmony",
     .reasoning = THOUGHT,
     .calls = {SPECIAL},
     .text = "<|channel|>analysis<|message|>" THOUGHT
             "<|end|><|start|>assistant to=functions.special_function<|channel|>analysis<|message|>"
             "{\"arg1\": 1}"},
    {.format = "harmony",
     .reasoning = "Thinking about edit...",
     .text = "<|channel|>analysis<|message|>Thinking about "
             "edit...<|end|><|start|>assistant<|channel|>commentary to=functions.edit "
             "<|constrain|>json<|message|>{\"oldString\": \"if (part < railCount - 1) {\", \"newString\": "
             "\"if (part < 4) {\", "
             "\"replaceAll\": false}",
     .calls = {{"edit",
                "{\"oldString\":\"if (part < railCount - 1) {\",\"newString\":\"if (part < 4) "
                "{\",\"replaceAll\":false}",
                NULL}}},
    {.format = "harmony",
     .reasoning = THOUGHT,
     .content = HELLO,
     .text = "<|channel|>commentary to=assistant<|channel|>analysis<|message|>" THOUGHT
             "<|end|><|start|>assistant<|channel|>final<|message|>" HELLO},
    {.format = "harmony",
     .reasoning = THOUGHT,
     .content = HELLO,
     .text = "<|channel|>analysis<|message|>" THOUGHT
             "<|end|><|start|>assistant<|channel|>commentary to=assistant<|channel|>final<|message|>" HELLO},
    {.format = "harmony",
     .reasoning = THOUGHT,
     .calls = {SPECIAL, {"special_function", "{\"arg1\":2}", NULL}},
     .text = "<|channel|> analysis<|message|> " THOUGHT
             "<|end|><|start|> assistant to=functions.special_function<|channel|> commentary "
             "<|constrain|>  json<|message|> {\"arg1\": 1}<|end|><|start|> assistant "
             "to=functions.special_function<|channel|> commentary "
             "<|constrain|>  json<|message|> {\"arg1\": 2}"},

    /* Llama 3: the format by the models' own documentation (Meta, Llama 3.1 prompt formats) */
    {.format = "llama-3", .text = HELLO, .content = HELLO},
    {.format = "llama-3",
     .text = "{\"name\": \"special_function\", \"parameters\": {\"arg1\": 1}}",
     .calls = {SPECIAL}},
    {.format = "llama-3",
     .text = "{\"type\": \"function\", \"name\": \"special_function\", \"parameters\": {\"arg1\": 1}}",
     .calls = {SPECIAL}},
    {.format = "llama-3",
     .text = "<|python_tag|>{\"name\": \"special_function\", \"parameters\": {\"arg1\": 1}}",
     .calls = {SPECIAL}},
    {.format = "llama-3",
     .text = "<|python_tag|>brave_search.call(query=\"Stockholm weather\")",
     .calls = {{"brave_search", "{\"query\":\"Stockholm weather\"}", NULL}}},
    {.format = "llama-3",
     .text = "[get_time(city='Paris'), get_weather(city=\"Paris\")]",
     .calls = {CITY("get_time", "Paris"), CITY("get_weather", "Paris")}},

    /* Ours: what is no call stays text. */
    {.text = "<tool_call>{\"name\": \"f\"}</tool_call> <think>x</think>",
     .content = "<tool_call>{\"name\": \"f\"}</tool_call> <think>x</think>"},
    {.format = "hermes",
     .text = "<tool_call>{\"name\": 1}</tool_call>",
     .content = "<tool_call>{\"name\": 1}</tool_call>"},
    {.format = "hermes", .text = "a <tool_call> b", .content = "a <tool_call> b"},
    {.format = "hermes", .text = "a <tool_call>", .content = "a <tool_call>"},
    {.format = "hermes", .text = "a <tool_c", .content = "a <tool_c"},
    {.format = "hermes",
     .text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": [1, 2",
     .content = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": [1, 2"},
    {.format = "hermes",
     .text = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 01}}</tool_call>",
     .content = "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 01}}</tool_call>"},
    {.format = "hermes",
     .text = "<tool_call>no<tool_call>" CALL_JSON "</tool_call>",
     .content = "<tool_call>no",
     .calls = {SPECIAL}},
    {.format = "hermes",
     .text = "<tool_call>{\"arguments\": {\"arg1\": 1}, \"name\": \"special_function\"}</tool_call>",
     .calls = {SPECIAL}},
    {.format = "hermes", .text = "<tool_call>{\"name\": \"f\"}</tool_call>", .calls = {{"f", "{}", NULL}}},
    {.format = "hermes",
     .text = "<tool_call>" CALL_JSON "\n" OPT_JSON "</tool_call>",
     .calls = {SPECIAL, WITH_OPT}},
    {.format = "hermes",
     .text = "<tool_call>{\"id\": 7, \"x\": [{\"y\": null}], \"name\": \"f\", \"arguments\": {\"a\": "
             "\"}\\\"\\u00e9\"}}</tool_call>!",
     .content = "!",
     .calls = {{"f", "{\"a\":\"}\\\"\\u00e9\"}", "7"}}},
    {.format = "hermes", .template = THINK, .text = "a <think> b", .content = "a <think> b"},
    {.format = "hermes", .template = THINK, .text = "\n<think>\nr", .reasoning = "r"},
    {.format = "hermes",
     .template = THINK,
     .prompt = "<think>",
     .text = "r <tool_call>no</think>c",
     .reasoning = "r <tool_call>no",
     .content = "c"},
    {.format = "mistral",
     .text = "[TOOL_CALLS]two words[ARGS]{}",
     .content = "[TOOL_CALLS]two words[ARGS]{}"},
    {.format = "qwen3-coder",
     .text = "<function=f>\n<parameter=a>\n1\n</function>",
     .content = "<function=f>\n<parameter=a>\n1\n</function>"},
    {.format = "qwen3-coder",
     .text = "<function=f>\n<parameter=a>\nx\"\\\t\x01\n</parameter>\n</function>",
     .calls = {{"f", "{\"a\":\"x\\\"\\\\\\t\\u0001\"}", NULL}}},
    {.format = "qwen3-coder",
     .tools = "[{\"name\": \"f\", \"parameters\": {\"properties\": {\"a\": {\"type\": \"boolean\"}}}}]",
     .text = "<function=f><parameter=a>True</parameter></function>",
     .calls = {{"f", "{\"a\":true}", NULL}}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[f(a='x\"y\\'z', b=-1.5e3, c=[], d={'k': False})]<|tool_call_end|>",
     .calls = {{"f", "{\"a\":\"x\\\"y'z\",\"b\":-1.5e3,\"c\":[],\"d\":{\"k\":false}}", NULL}}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[f(a='\\x41\\q\x02')]<|tool_call_end|>",
     .calls = {{"f", "{\"a\":\"\\u0041\\\\q\\u0002\"}", NULL}}},
    {.format = "lfm2",
     .text = "<|tool_call_start|>[f(a=Nine)]<|tool_call_end|>",
     .content = "<|tool_call_start|>[f(a=Nine)]<|tool_call_end|>"},
    {.format = "lfm2", .text = "<|tool_call_start|>[f(1)]", .content = "<|tool_call_start|>[f(1)]"},
    {.format = "llama-3",
     .text = "{\"name\": \"Ada\", \"born\": 1815}",
     .content = "{\"name\": \"Ada\", \"born\": 1815}"},
    {.format = "llama-3", .text = "{\"name\": \"Ada\"}", .content = "{\"name\": \"Ada\"}"},
    {.format = "llama-3", .text = "[1, 2]", .content = "[1, 2]"},
    {.format = "llama-3",
     .text = "Use {\"name\": \"f\", \"parameters\": {}}",
     .content = "Use {\"name\": \"f\", \"parameters\": {}}"},
    {.format = "functionary-v3.2",
     .prompt = ">>>",
     .text = "all\nLook:\n>>>f\n{\"a\": 1}>>>g\n{}",
     .content = "Look:\n",
     .calls = {{"f", "{\"a\":1}", NULL}, {"g", "{}", NULL}}},
    {.format = "functionary-v3.2", .prompt = ">>>", .text = "no header here", .content = "no header here"},
    {.format = "functionary-v3.2", .prompt = ">>>", .text = "", .content = ""},
    {.format = "harmony",
     .text = "<|channel|>commentary to=functions.f<|message|>not JSON<|call|>",
     .content = "<|channel|>commentary to=functions.f<|message|>not JSON"},
    {.format = "harmony", .text = "<|channel|>final", .content = "<|channel|>final"},
    {.format = "harmony", .text = HELLO, .content = HELLO},
    {.format = "granite-3", .text = "<|tool_call|>[" CALL_JSON "]", .calls = {SPECIAL}},
    {.format = "command-r",
     .text = "I will look.\nAction: ```json\n[{\"tool_name\": \"f\", \"parameters\": {}}]```",
     .content = "I will look.",
     .calls = {{"f", "{}", NULL}}},
};

#endif
