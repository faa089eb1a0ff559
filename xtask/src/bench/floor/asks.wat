;; The least that a filter can do for a miss with a callout: as passes.wat, but that the request is held until the gate has answered,
;; whatever it says.
(module
  (import "env" "proxy_get_header_map_pairs" (func $headers (param i32 i32 i32) (result i32)))
  (import "env" "proxy_http_call"
    (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $become (param i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $continue (param i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 16) "forebay-gate")
  ;; Three headers: their count, the lengths of each name and value, and all of them with a zero behind each.
  (data (i32.const 32) "\03\00\00\00\07\00\00\00\03\00\00\00\05\00\00\00\01\00\00\00\0a\00\00\00\0c\00\00\00")
  (data (i32.const 60) ":method\00GET\00:path\00/\00:authority\00forebay-gate\00")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 1024))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32) (param $ends i32) (result i32)
    (drop (call $headers (i32.const 0) (i32.const 0) (i32.const 4)))
    (i32.eqz (local.get $ends)))
  (func (export "proxy_on_request_body") (param $context i32) (param i32) (param $ends i32) (result i32)
    (if (local.get $ends) (then
      (drop (call $call (i32.const 16) (i32.const 12) (i32.const 32) (i32.const 72) (i32.const 0) (i32.const 0)
        (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 8)))
      (i32.store (call $place (i32.load (i32.const 8))) (local.get $context))))
    (i32.const 1))
  (func (export "proxy_on_http_call_response") (param i32) (param $token i32) (param i32 i32 i32)
    (drop (call $become (i32.load (call $place (local.get $token)))))
    (drop (call $continue (i32.const 0))))
  ;; Where it is kept whose a callout is: 4,096 are the most that are under way.
  (func $place (param $token i32) (result i32)
    (i32.add (i32.const 65536) (i32.mul (i32.const 4) (i32.and (local.get $token) (i32.const 4095))))))
