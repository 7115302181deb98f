;;; ingle-settings.el --- Settings of ingle  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns the options and the few helpers that every part of the package
;; needs: how a message is said, and how a callback is kept from ending in
;; a stack trace.  Options of the language server are nil for its own
;; default; they apply at once when they are set with Customize or `setopt'.

;;; Code:

(require 'cl-lib)

(defgroup ingle nil
  "A local model in the editor: suggestions, chat and changes."
  :group 'tools
  :prefix "ingle-"
  :link '(url-link :tag "Language server's settings" "lsp/README.md"))

(declare-function ingle--settings-changed "ingle-connection")

(defun ingle--set-option (symbol value)
  "Set the option SYMBOL to VALUE, and tell a running language server."
  (set-default symbol value)
  (when (fboundp 'ingle--settings-changed)
    (ingle--settings-changed)))

;;;; How ingle-lsp is started

(defcustom ingle-lsp-command '("ingle-lsp")
  "Program and arguments of the language server."
  :type '(repeat string))

(defcustom ingle-start-daemon nil
  "Whether the daemon is started when it is not running."
  :type 'boolean
  :set #'ingle--set-option)

;;;; What is suggested, and when

(defcustom ingle-automatic t
  "Whether suggestions appear while typing.
Without it they appear only on the command `ingle-complete'."
  :type 'boolean
  :safe #'booleanp)

(defcustom ingle-in-comments t
  "Whether there are suggestions in comments."
  :type 'boolean
  :set #'ingle--set-option)

(defcustom ingle-in-strings t
  "Whether there are suggestions in strings."
  :type 'boolean
  :set #'ingle--set-option)

(defcustom ingle-disabled-modes nil
  "Major modes without suggestions; modes derived from them, too."
  :type '(repeat symbol))

(defcustom ingle-disabled-folders nil
  "Folders without suggestions, with all that is in them."
  :type '(repeat directory)
  :set #'ingle--set-option)

(defcustom ingle-inhibit-functions nil
  "Functions that tell whether suggestions are unwelcome just now.
Each is called without arguments in the buffer; a non-nil value keeps
suggestions from appearing by themselves."
  :type 'hook)

(defcustom ingle-max-buffer-size 5000000
  "Characters above which a buffer is not sent to the language server."
  :type 'natnum)

(defcustom ingle-debounce-ms nil
  "Milliseconds that typing must pause before a suggestion is asked for.
By default the pause follows from how long answers take."
  :type '(choice (const :tag "Default" nil) (const auto) natnum)
  :set #'ingle--set-option)

(defcustom ingle-max-tokens nil
  "Longest suggestion, in tokens."
  :type '(choice (const :tag "Default" nil) natnum)
  :set #'ingle--set-option)

(defcustom ingle-multiline nil
  "Where suggestions may have several lines."
  :type '(choice (const :tag "Default (where a block begins)" nil)
                 (const auto) (const never) (const always))
  :set #'ingle--set-option)

(defcustom ingle-min-confidence nil
  "A suggestion that the model is less sure of is not shown (0 to 1)."
  :type '(choice (const :tag "Default" nil) number)
  :set #'ingle--set-option)

(defcustom ingle-deadline-ms nil
  "Milliseconds after which a suggestion is given up."
  :type '(choice (const :tag "Default" nil) natnum)
  :set #'ingle--set-option)

(defcustom ingle-candidates nil
  "How many different suggestions there are, at most, to choose from."
  :type '(choice (const :tag "Default" nil) natnum)
  :set #'ingle--set-option)

(defcustom ingle-prefetch nil
  "What is made in advance while the model has nothing else to do.
The next line once one is whole, also what follows the suggestion
that is shown (always), or nothing."
  :type '(choice (const :tag "Default (the next line)" nil)
                 (const auto) (const never) (const always))
  :set #'ingle--set-option)

(defcustom ingle-disabled-languages nil
  "Language identifiers without suggestions, like \"markdown\"."
  :type '(repeat string)
  :set #'ingle--set-option)

(defcustom ingle-effort nil
  "How long a reasoning model thinks before it answers or changes code."
  :type '(choice (const :tag "The daemon's default" nil)
                 (const low) (const medium) (const high))
  :set #'ingle--set-option)

(defcustom ingle-language-ids
  '((c++-mode . "cpp") (c++-ts-mode . "cpp")
    (cperl-mode . "perl")
    (js-jsx-mode . "javascriptreact")
    (js-mode . "javascript") (js2-mode . "javascript") (js-ts-mode . "javascript")
    (tsx-ts-mode . "typescriptreact")
    (sh-mode . "shellscript") (bash-ts-mode . "shellscript")
    (latex-mode . "latex") (LaTeX-mode . "latex")
    (makefile-gmake-mode . "makefile") (GNUmakefile-mode . "makefile")
    (gfm-mode . "markdown")
    (mhtml-mode . "html")
    (fundamental-mode . "plaintext") (text-mode . "plaintext"))
  "Alist of major modes and their LSP language identifiers.
The identifier of other modes is their name without \"-ts-mode\" or
\"-mode\"."
  :type '(alist :key-type symbol :value-type string))

;;;; What the language server is told of them

(defconst ingle--server-options
  '((:startDaemon ingle-start-daemon boolean)
    (:debounceMs ingle-debounce-ms)
    (:maxTokens ingle-max-tokens)
    (:multiline ingle-multiline)
    (:minConfidence ingle-min-confidence)
    (:deadlineMs ingle-deadline-ms)
    (:candidates ingle-candidates)
    (:inComments ingle-in-comments boolean)
    (:inStrings ingle-in-strings boolean)
    (:prefetch ingle-prefetch)
    (:effort ingle-effort)
    (:disabledLanguages ingle-disabled-languages list)
    (:disabledFolders ingle-disabled-folders folders))
  "The language server's names of our options, and their types.")

(defun ingle--server-settings ()
  "The settings to send, as a JSON object; null where the server decides."
  (cl-loop for (key option type) in ingle--server-options
           for value = (default-value option)
           append (list key
                        (pcase type
                          ('boolean (if value t :json-false))
                          ('list (vconcat value))
                          ('folders (vconcat (mapcar #'expand-file-name value)))
                          (_ (if (and value (symbolp value)) (symbol-name value) value))))))

;;;; Messages

(defvar ingle--last-message ""
  "The last message that was shown, for tests and for \\[ingle-doctor].")

(defun ingle--say (format &rest arguments)
  "Show a line in the echo area: FORMAT with ARGUMENTS.
While the minibuffer is in use the line goes to *Messages* only."
  (let ((line (replace-regexp-in-string
               "[ \t]*[\n\r]+[ \t]*" " " (apply #'format-message format arguments)))
        (inhibit-message (or inhibit-message (active-minibuffer-window))))
    (setq ingle--last-message line)
    (message "ingle: %s" line)))

(defun ingle--alert (format &rest arguments)
  "Show a line that nobody may miss: FORMAT with ARGUMENTS.
The next key takes it away; it is shown again when typing pauses."
  (apply #'ingle--say format arguments)
  (let ((line ingle--last-message))
    (run-with-idle-timer 1 nil (lambda ()
                                 (when (and (equal line ingle--last-message)
                                            (null (current-message)))
                                   (let ((message-log-max nil))
                                     (ingle--say "%s" line)))))))

(defmacro ingle--guarded (&rest body)
  "Run BODY; an error in it becomes one line, not a stack trace.
With `debug-on-error' it is an error, as usual."
  (declare (indent 0) (debug t))
  `(condition-case-unless-debug problem
       (progn ,@body)
     (error (ingle--say "%s" (error-message-string problem)) nil)))

(provide 'ingle-settings)
;;; ingle-settings.el ends here
