use super::*;
use crate::proto::trace_setting_request::SettingValue as Asked;

const ON: Sampling = Sampling { is_on: true, rate: 2, count: 3 };

fn ask(settings: &Settings, model: &str, asked: &[(&str, &[&str])]) -> Result<[String; 3], TraceError> {
    let values = |values: &[&str]| Asked { value: values.iter().map(ToString::to_string).collect() };
    let told = settings.take(&TraceSettingRequest {
        settings: asked.iter().map(|(name, value)| ((*name).to_owned(), values(value))).collect(),
        model_name: model.to_owned(),
    })?;
    Ok([TRACE_LEVEL, TRACE_RATE, TRACE_COUNT].map(|name| told.settings[name].value.join(",")))
}

#[test]
fn each_nth_request_is_traced_until_none_is_left_and_what_comes_with_a_trace_as_that_says() {
    let settings = Settings::new(ON, true);
    let traced = |sampled| (0..10).filter(|_| settings.traces("m", sampled)).count();
    assert_eq!(traced(Some(true)), 10);
    assert_eq!(traced(Some(false)), 0);
    assert_eq!(traced(None), 3);
    assert_eq!(traced(None), 0, "none is left");
    assert_eq!(ask(&settings, "", &[]).unwrap(), ["TIMESTAMPS", "2", "0"]);
    ask(&settings, "", &[(TRACE_COUNT, &["-1"]), (TRACE_RATE, &["1"])]).unwrap();
    assert_eq!(traced(None), 10);
    ask(&settings, "", &[(TRACE_RATE, &["0"])]).unwrap();
    assert_eq!((traced(None), traced(Some(true))), (0, 10));
    ask(&settings, "", &[(TRACE_LEVEL, &["OFF"])]).unwrap();
    assert_eq!(traced(Some(true)), 0);
    assert!(!settings.is_on());
}

#[test]
fn a_model_has_its_own_settings_and_the_servers_where_it_has_none() {
    let settings = Settings::new(Sampling { is_on: false, ..ON }, true);
    assert_eq!(ask(&settings, "m", &[(TRACE_LEVEL, &["TIMESTAMPS"])]).unwrap(), ["TIMESTAMPS", "2", "3"]);
    assert!(settings.is_on());
    assert!(settings.traces("m", Some(true)) && !settings.traces("other", Some(true)));
    assert_eq!(ask(&settings, "", &[(TRACE_RATE, &["7"])]).unwrap(), ["OFF", "7", "3"]);
    assert_eq!(ask(&settings, "m", &[]).unwrap(), ["TIMESTAMPS", "7", "3"]);
    assert_eq!(ask(&settings, "m", &[(TRACE_LEVEL, &[])]).unwrap(), ["OFF", "7", "3"]);
    assert_eq!(ask(&settings, "", &[(TRACE_RATE, &[])]).unwrap(), ["OFF", "2", "3"]);
}

#[test]
fn what_cannot_be_is_refused_and_nothing_of_it_is_taken() {
    let settings = Settings::new(ON, true);
    for (asked, class) in [
        ((TRACE_LEVEL, &["TENSORS"][..]), Class::Unimplemented),
        ((TRACE_RATE, &["-1"]), Class::Wrong),
        ((TRACE_RATE, &["1", "2"]), Class::Wrong),
        ((TRACE_COUNT, &["-2"]), Class::Wrong),
        (("trace_file", &["/tmp/trace.json"]), Class::Unimplemented),
        (("trace_rat", &["1"]), Class::Wrong),
        ((TRACE_MODE, &["triton"]), Class::Wrong),
    ] {
        let refused = ask(&settings, "", &[("trace_count", &["9"]), asked]).unwrap_err();
        assert_eq!(refused.class(), class, "{refused}");
        assert_eq!(ask(&settings, "", &[]).unwrap(), ["TIMESTAMPS", "2", "3"], "{refused}");
    }
    assert!(ask(&settings, "", &[("trace_file", &[]), ("log_frequency", &[])]).is_ok());
    let alone = Settings::new(Sampling::default(), false);
    let refused = ask(&alone, "", &[(TRACE_LEVEL, &["TIMESTAMPS"])]).unwrap_err();
    assert!(matches!(refused, TraceError::NoCollector));
}
