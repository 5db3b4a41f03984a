//! A browser as far as the attacks need one: cookies, and the first form of a page.

use std::collections::BTreeMap;

use e2e::http::{Answer, client, send};
use reqwest::RequestBuilder;
use url::Url;

/// Follows nothing by itself.
#[derive(Debug, Default)]
pub(crate) struct Browser {
    cookies: BTreeMap<String, String>,
}

/// The first form of a page.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) target: Url,
    pub(crate) fields: Vec<(String, String)>,
    asks_for_password: bool,
}

const MOST_STEPS: usize = 10;

impl Browser {
    pub(crate) async fn get(&mut self, url: &str) -> Answer {
        self.send(client().get(url)).await
    }

    pub(crate) async fn post(&mut self, url: &str, fields: &[(String, String)]) -> Answer {
        let body: String = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = client()
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        self.send(request).await
    }

    /// Logs in and approves; the answer that sends it to `end`.
    pub(crate) async fn walk(&mut self, url: &str, user: &str, end: &str) -> Answer {
        let mut at: Url = url.parse().expect("a URL");
        let mut answer = self.get(url).await;
        for _ in 0..MOST_STEPS {
            let location = answer.header("location").to_owned();
            if location.starts_with(end) {
                return answer;
            }
            if !location.is_empty() {
                at = at.join(&location).expect("a URL");
                answer = self.get(at.as_str()).await;
                continue;
            }
            let form = Form::of(&at, &answer.body);
            at = form.target.clone();
            answer = self.post(at.as_str(), &form.filled(user)).await;
        }
        panic!("the walk does not end: {} {}", answer.status, answer.body);
    }

    /// What its cookies hold.
    pub(crate) fn secrets(&self) -> Vec<String> {
        self.cookies.values().cloned().collect()
    }

    async fn send(&mut self, request: RequestBuilder) -> Answer {
        let pairs = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let answer = send(request.header("cookie", pairs.collect::<Vec<_>>().join("; "))).await;
        for cookie in answer.headers.get_all("set-cookie") {
            let pair = cookie.to_str().expect("ascii").split(';').next();
            if let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        answer
    }
}

impl Form {
    pub(crate) fn of(at: &Url, page: &str) -> Self {
        let (_, rest) = page.split_once("<form").expect(page);
        let (head, rest) = rest.split_once('>').expect("a tag");
        let (body, _) = rest.split_once("</form>").expect("a form that ends");
        let inputs = body.split("<input").skip(1);
        let inputs: Vec<_> = inputs
            .map(|input| input.split('>').next().expect("a tag"))
            .collect();
        let action = attribute(head, "action").unwrap_or_default();
        Self {
            target: at.join(&action).expect("a URL"),
            fields: inputs
                .iter()
                .filter(|input| attribute(input, "type").as_deref() == Some("hidden"))
                .filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?)))
                .collect(),
            asks_for_password: body.contains("name=\"password\""),
        }
    }

    /// With the password, or with approval.
    pub(crate) fn filled(&self, user: &str) -> Vec<(String, String)> {
        let mut fields = self.fields.clone();
        let mut put = |name: &str, value: String| fields.push((name.to_owned(), value));
        if self.asks_for_password {
            put("username", user.to_owned());
            put("password", format!("{user}-demo-password"));
        } else {
            put("decision", "approve".to_owned());
        }
        fields
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let (value, _) = rest.split_once('"')?;
    Some(
        value
            .replace("&amp;", "&")
            .replace("&quot;", "\"")
            .replace("&#39;", "'"),
    )
}
