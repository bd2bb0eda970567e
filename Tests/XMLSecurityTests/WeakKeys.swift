/// Public keys that must not be taken: SubjectPublicKeyInfo in base64, made with `openssl genpkey`; nobody has the private halves.
enum WeakKeys {
  static let all: [(String, String)] = [
    (
      "RSA of 1,024 bits",
      "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDIRrPPdPTbpG4U2s4E7qxG206SW9P4GN8OjNa3eReb078OjbdSpCVgT5OsqnkaW2b8a67/8GLfSdoxOMpcVo3VEceM"
        + "kA5qB7/0NsBJF+Lv5OGvcXnBdwS+K5l5TYFb8Oydx2nd2H5xuN2fo+9iOoBKx3DurkV05thvzD7y/v4fbQIDAQAB"
    ),
    (
      "RSA of 2,047 bits",
      "MIIBITANBgkqhkiG9w0BAQEFAAOCAQ4AMIIBCQKCAQBm8EMoczDcvQ26lzu94/37KN3aVvwFLkGq/9HXLCgVhiM3edsMdC7cfUUskr/M0rtDNogxrTyONIjBZohmudct"
        + "IE7AWaxsTVw8LkI0q/dtiCcPaIoIF+U8KG1Wp6VcLzMcIHhGzMoxWwec9/cIds9Whaq/9lFs/hGYfJ+4JiUFAxdC1PMwXJcknBj3VUJ8JDpb4VcWB0Hx6qSlLeN0mqDm"
        + "PH9nViZDAUXz4XVKTI7usdKbtO6Kargb634x9PDOmey6kM1ZDQtb/T0MEj41AH+WCbnuhNjv+odsmIjHtlAzTBU+crBFl8ZsJLnIUx2OcnSjgRXfYI9//oBmp3EBH7sH"
        + "AgMBAAE="
    ),
    (
      "RSA with exponent 3",
      "MIIBIDANBgkqhkiG9w0BAQEFAAOCAQ0AMIIBCAKCAQEAufKbJundfVM4pbIJrbs6+TyKfMeOtO4iTYwKJfzqy6OCr/RJLRPTdufs8h7N/ET89iQBVbmvDWFmEMaJrNE1"
        + "YFVHYPbs8gJtZeNHuQujsGykppkNpJc7FPX0+0v+xxmG+YUzpkG3nm592hVCAvuzJ29GIaOmD+7QSV4EKK1gbN5z+l9IUe+hYVpYp2Nj/Jg+CY9sGddA/2xP+c7cLlq1"
        + "yXWvoUyHyepDwtOjaylkNNMTWpY4AiknZBBJVvr+6MZTWp3OI30jeAHztpY2YsZDzLpMIqoINth9qvgXEYkS+55bAbf6HPFkFUMkp5qiHbv0AQZvDXXGRW0yI1oIS+Yk"
        + "bQIBAw=="
    ),
    (
      "RSA with exponent 65539",
      "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAv/xit5xETVmzsfMTCIn7zybOtBrRCpcclI4xeeaoLT4DdxD4Jo85ReoJN+tv7V9GS6zvavH+slM/EebaCwvr"
        + "gX2krKFbx5wDq3XorZ0VC906GWJSabaEyG7i8zVRGlCeIOVMUnRMccC398zsnfHjI8naLpU5A4ddzSmRXeBaLIvU6PEWY+xkAx6t3+8SVU1kWfwCJyuDptxx9qPyr6kh"
        + "OL3/7uVXqY5XfAW43V6Cfv+4VXGubImNv6ZIkVpAlK2Rc617AY3NYV6U+PZfAg5+7WJrMj0ckM92wLDELRVBh1gy5ADHn5dUci6iuzsk1toleevSKuWbBQjVEyM7V0gS"
        + "twIDAQAD"
    ),
    (
      "RSA for PSS only",
      "MIIBIDALBgkqhkiG9w0BAQoDggEPADCCAQoCggEBAJ51riu4aG80baKhBfGukZ2MV4AO3XYQaFFsrG9XwlKNI5uNUMNrnsBkSTN4232VSTZmXeSGkSnC9a9GzKADc7JV"
        + "doLjLQ3OMNu+d3Y6sp7vezCerK5YVNWw0YpKq0am3nS8jOxHmX7rZG1Oie/m7YwOmjhc1qUs58R0M5ahvdCOiKhQ/3rE7CZxrD0Uo3SVo7wFTVaM28eibDpvb1GDYfbf"
        + "EwgJB8Xt7zzApt4qBU6Of+hvPET3h4ARuVi/k5roqxnUGPYOgyP6ghOz2gM4+Pfw1P3zgAjmsiSchNbokLRwrZPBLDR4VIsAMcY5Lae+R/HCvcoRroXeA57Re3V84bkC"
        + "AwEAAQ=="
    ),
    (
      "P-224",
      "ME4wEAYHKoZIzj0CAQYFK4EEACEDOgAE0D2TqIuCLjqODwml/SSOhFdzeoKOxLQFjSW3oVtRHLGTJ6ivIs2oyKXJUqk/4a8c/DmQDjXtT5U="
    ),
    (
      "P-521",
      "MIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQBq9aNs2Y8nfoKwXYwT1b/zeTCtu6RB6QLhD6IENG8aGpgEq4urOFWLJYBOLH0C8Oo62+HgQzRXPMfHlC06gVZUgoA67Lt"
        + "YTbm/q6mBGuNiktnuzSAnWsyZSVglQnGyo1tU9Jot4PyQV4An1GHrlKJiGhshvXO6cHAouaLS8kKvT+NhyI="
    ),
    (
      "secp256k1",
      "MFYwEAYHKoZIzj0CAQYFK4EEAAoDQgAEuLvfVBQywK2L8F4gErjUrw8bzkdm4eCOMmk9gP0mbQEnAWZYbqKT5xHU7dDuK3kJLTEo8e/ulF4AM6BrSXU3aw=="
    ),
    (
      "brainpoolP256r1",
      "MFowFAYHKoZIzj0CAQYJKyQDAwIIAQEHA0IABCs31HAVD0Tqb80J7IAWNBbfM+JQLxAqUZBMIQlmAbYjfn2x0L8oxtUyLdMmMpCYDH8+bOBbjMJAJ+1fn2cN12Y="
    ),
    (
      "P-256 spelt out",
      "MIIBSzCCAQMGByqGSM49AgEwgfcCAQEwLAYHKoZIzj0BAQIhAP////8AAAABAAAAAAAAAAAAAAAA////////////////MFsEIP////8AAAABAAAAAAAAAAAAAAAA////"
        + "///////////8BCBaxjXYqjqT57PrvVV2mIa8ZR0GsMxTsPY7zjw+J9JgSwMVAMSdNgiG5wSTamZ44ROdJreBn36QBEEEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5"
        + "RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9QIhAP////8AAAAA//////////+85vqtpxeehPO5ysL8YyVRAgEBA0IABALNPuDqJgLdb9r3HmmL1FYI"
        + "eSaS9/3Cb/CkLFgBohNpZXb2+dGB+rejmvyFaAc+eLcGPxWBnbjLh3BWySzqwlk="
    ),
    (
      "Ed25519",
      "MCowBQYDK2VwAyEA7zDXdgB2p2Z07puBotfSs7JGaL3vQXmHe4akpN6cBKw="
    ),
    (
      "X25519",
      "MCowBQYDK2VuAyEAK1ZBvChvkEN8LTmoKu1cGeJdZPGw3JqhkRVJ/q/oTEE="
    ),
    (
      "DSA",
      "MIIDRDCCAjYGByqGSM44BAEwggIpAoIBAQDlplV4jXz+f0XdLP8N/avQoQL1axO0tp3qlqK1KmHCmuE5J2Li73CIEdZo86W233Qsgljd7GO4G/XU3oMh9p/Ul1zg7/8u"
        + "k8Lc8W8XoAJz9+hfmzeNUAcBdMFY+vswNNo8jbbXAllr5Oey/8gJWL0bmY5KMsOLYnau4WYzom+4vVGsrXevhVqP8RMWKxt1A/LpoRxJ5f5f/YRa/kqBXlBbL5+VwhbT"
        + "pmsqObYfiD8cNJuy61fEb4GbyMRRABBLJ/OVAgXz+pcWaN4l46jTWaaiHRbgUP8OKlzvliYEeIfoV/5e/oLgdbuDSVJMJvFiHiQVqUOkJAHGtLfrFA3waUUJAh0Am6zb"
        + "6mXWpvVe35bOYwMr+QCfOS92qfiQ3riQEQKCAQEAhmMplZVlUfE5NPs36daQ3pZwGH0rtgAQHA5sdwI7k5ZLm9i9W3TFjT46MA56bKqvlT2jwial+eIBpISCBEOzUeSw"
        + "MwCUNUi/PrfWHHB/S300zSLd7VKWHmE/wUt7daFfhBCILP3dqKprzvgK6UKfb+DghuQq69ZftAeAeAOJrvOyfY5B9yaaBXHxomhWUJbDwJBBzDml2mCd8SJRcj4otWkF"
        + "JLzWycf6RN94DqSsz45ZeBCHxP99AtqHPKFuoBBpmeRYV+8LkcuqhSyqf0SUelWOWwuCMBZjAMNNvMzKMl56kjq4xn25FT7dy7j5eEQrrZZ7c5S1jZhetDjcY/HgIAOC"
        + "AQYAAoIBAQCAOS28bgucrVQNy/8s0EnkkBzebc+K7yw8dujUgMieZhx3bn0vLyWL9KU8qMg0meljUQKr43xtD2FmE7RT/f79kuV1Jciq7JJTPj4M3u1XyqViP+GW2zrL"
        + "ak0MmzSL3l5NEgYaNZen20kzoIzJrJNXkasF5spHK+tOwiB/LSBytcPusF6iUHGR1pDgBCFA0zu7gDBmgY4s2cn9J2GOSDDRzbyXS/pmpeSYTsDkJvtLUZ5o8J5iDUTT"
        + "v2Yp8w+Pmn04SLF+TthiDh8GWUnF8V3qBH9LDhLv/CgvfWPYFtltrZu/Rve33WqZMkEyGlPXPtQ7s/O2ZBo42S9uq1gJ60IE"
    ),
    ("nothing", ""), ("an empty sequence", "MAA="),
  ]
}
