"""A new key for ES256, as a private JSON Web Key on one line."""

import json

from joserfc.jwk import ECKey

print(json.dumps(ECKey.generate_key("P-256", auto_kid=True).as_dict(private=True)))
