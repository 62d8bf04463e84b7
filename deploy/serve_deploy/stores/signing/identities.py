"""Sign and verify without keys, by sigstore: a short-lived certificate of an identity, and its public log."""

from __future__ import annotations

from dataclasses import dataclass

from serve_deploy.errors import EndpointError, UsageError
from serve_deploy.extras import install_command
from serve_deploy.stores.signing.model_signature import Bundle, MalformedSignatureError


class IdentitySigner:
    """Signs with the identity of the CI job, or else the one that the browser gives."""

    def __init__(self) -> None:
        _require_library()

    @property
    def trust(self) -> None:
        """Who signs is known when it is done."""
        return None

    def sign(self, statement: bytes) -> bytes:
        """The bundle with the certificate and the log's entry; EndpointError where sigstore does not answer."""
        from sigstore.dsse import Statement
        from sigstore.models import ClientTrustConfig
        from sigstore.oidc import IdentityToken, Issuer, detect_credential
        from sigstore.sign import SigningContext

        try:
            config = ClientTrustConfig.production()
            ambient = detect_credential()
            token = IdentityToken(ambient) if ambient else Issuer(config.signing_config.get_oidc_url()).identity_token()
            with SigningContext.from_trust_config(config).signer(token) as signer:
                return str(signer.sign_dsse(Statement(statement)).to_json()).encode()
        except Exception as error:
            raise EndpointError(
                f"sigstore did not sign: {_first_line(error)}", hint="or sign with `sign_key`"
            ) from error


@dataclass(frozen=True)
class TrustedIdentity:
    """Accepts what sigstore vouches to be signed by one identity, issued by one issuer."""

    identity: str
    issuer: str

    def __post_init__(self) -> None:
        _require_library()

    def verify(self, content: bytes, bundle: Bundle) -> tuple[str, bytes]:
        """The identity and the statement; EndpointError where sigstore's roots cannot be had."""
        from sigstore.errors import Error, VerificationError
        from sigstore.models import Bundle as SigstoreBundle
        from sigstore.models import InvalidBundle
        from sigstore.verify import Verifier
        from sigstore.verify.policy import Identity

        if bundle.is_by_key:
            raise MalformedSignatureError(f"is by a key, not by {self.identity}")
        try:
            signed = SigstoreBundle.from_json(content)
            policy = Identity(identity=self.identity, issuer=self.issuer)
            _type, statement = Verifier.production().verify_dsse(signed, policy)
        except (InvalidBundle, VerificationError) as error:
            raise MalformedSignatureError(f"is not valid as one of {self.identity}: {_first_line(error)}") from error
        except Error as error:
            raise EndpointError(f"sigstore's roots of trust cannot be read: {_first_line(error)}") from error
        return self.identity, statement


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def _require_library() -> None:
    try:
        import sigstore  # noqa: F401
    except ImportError:
        raise UsageError(
            "signatures by an identity need sigstore, which is not installed",
            hint=f"install it with `{install_command('sigstore')}`, or use a key",
        ) from None
