;;; ingle-actions.el --- Explain, fix, test, document, refactor  -*- lexical-binding: t; -*-

;; Copyright (C) 2026 The ingle authors
;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns the commands that have the model look at code and change it.  The
;; server makes the edits and asks for them to be applied (`ingle-edits').

;;; Code:

(require 'cl-lib)
(require 'ingle-connection)
(require 'ingle-document)
(require 'ingle-markdown)

(declare-function flymake-diagnostics "flymake")
(declare-function flymake-diagnostic-beg "flymake")
(declare-function flymake-diagnostic-end "flymake")
(declare-function flymake-diagnostic-text "flymake")

(defvar ingle-actions--running nil
  "The commands in progress, the newest first: lists (CONNECTION ID).")

(defvar ingle-refactor-history nil
  "History of instructions to refactor by.")

;;;; Running

(defun ingle-actions--run (name argument done)
  "Run the server's command NAME about this buffer.
ARGUMENT is a function that makes its argument, of the connection, when
the server has the buffer as it is.  DONE is called with the result."
  (let ((refusal (ingle--refusal)))
    (if refusal
        (ingle--say "%s" refusal)
      (ingle--obtain
       (lambda (_)
         (let ((connection (ingle--sync)))
           (when connection
             (ingle-actions--track
              connection
              (lambda (finish)
                (ingle--command connection name (funcall argument connection)
                                :always finish
                                :then done
                                :else #'ingle-actions--say-failure))))))))))

(defun ingle-actions--say-failure (message code)
  "Say why there is no result: MESSAGE, with CODE."
  (ingle--say "%s" (if (eql code -32800) "stopped" message)))

(defun ingle-actions--track (connection send)
  "Remember what SEND asks of CONNECTION, so that it can be stopped.
SEND returns the request's id; it is given a function to call at the end."
  (let ((entry (list connection nil)))
    (push entry ingle-actions--running)
    (setf (cadr entry)
          (funcall send (lambda ()
                          (setq ingle-actions--running
                                (delq entry ingle-actions--running)))))))

(defun ingle-cancel ()
  "Stop the newest work in progress."
  (interactive)
  (let ((entry (car ingle-actions--running)))
    (if entry
        (ingle--cancel (car entry) (cadr entry))
      (ingle--say "nothing is in progress"))))

(defun ingle-actions--disconnected (connection)
  "Forget what was asked of CONNECTION, which has ended."
  (setq ingle-actions--running
        (cl-delete connection ingle-actions--running :key #'car)))

(add-hook 'ingle-disconnected-functions #'ingle-actions--disconnected)

(defun ingle-actions--selection ()
  "Start and end of the region, or point twice."
  (if (use-region-p)
      (cons (region-beginning) (region-end))
    (cons (point) (point))))

(defun ingle-actions--edit (action &rest fields)
  "Have the server do ACTION to the region or to what is around point.
FIELDS are further parts of the argument, a plist or a function that
makes one of the connection."
  (let* ((selection (ingle-actions--selection)))
    (barf-if-buffer-read-only)
    (deactivate-mark)
    (ingle-actions--run
     "ingle.edit"
     (lambda (connection)
       (append (list :action action)
               (ingle--document)
               (list :range (ingle--range (car selection) (cdr selection) connection))
               (if (functionp (car fields)) (funcall (car fields) connection) fields)))
     (lambda (result)
       (let ((message (or (plist-get result :message) "")))
         (cond ((not (eq (plist-get result :applied) t)) (ingle--say "%s" message))
               ((string-empty-p message)
                (ingle--say (substitute-command-keys "done; \\[undo] undoes it")))
               (t (ingle--say "%s" message))))))))

;;;; Commands

;;;###autoload
(defun ingle-write-tests ()
  "Have the region, or the function around point, tested by new code."
  (interactive "*")
  (ingle-actions--edit "tests"))

;;;###autoload
(defun ingle-document ()
  "Document the region, or the function around point."
  (interactive "*")
  (ingle-actions--edit "document"))

;;;###autoload
(defun ingle-refactor (instruction)
  "Change the region, or the function around point, by INSTRUCTION."
  (interactive
   (progn
     (barf-if-buffer-read-only)
     (list (read-string "Refactor: " nil 'ingle-refactor-history))))
  (if (string-empty-p (string-trim instruction))
      (ingle--say "there is no instruction")
    (ingle-actions--edit "refactor" :instruction instruction)))

;;;###autoload
(defun ingle-fix ()
  "Fix what Flymake reports in the region, or in the line of point."
  (interactive "*")
  (let* ((found (ingle-actions--problems))
         (chosen (if (cdr found)
                     (ingle-actions--choose-problem found)
                   found)))
    (if (null chosen)
        (ingle--say "no problem is reported here")
      (ingle-actions--edit
       "fix"
       (lambda (connection)
         (list :diagnostics
               (vconcat (mapcar (lambda (problem)
                                  (ingle-actions--lsp-problem problem connection))
                                chosen))))))))

(defun ingle-actions--problems ()
  "Flymake's diagnostics in the region or in the line of point."
  (when (bound-and-true-p flymake-mode)
    (if (use-region-p)
        (flymake-diagnostics (region-beginning) (region-end))
      (flymake-diagnostics (line-beginning-position) (line-end-position)))))

(defun ingle-actions--choose-problem (problems)
  "Ask which of PROBLEMS is meant; return a list of it, or of all."
  (let* ((texts (mapcar #'flymake-diagnostic-text problems))
         (chosen (completing-read "Fix: " (append texts '("all of them")) nil t nil nil
                                  (car texts)))
         (place (cl-position chosen texts :test #'equal)))
    (if place (list (nth place problems)) problems)))

(defun ingle-actions--lsp-problem (problem connection)
  "PROBLEM, Flymake's, as LSP writes it on CONNECTION."
  (list :range (ingle--range (flymake-diagnostic-beg problem)
                             (flymake-diagnostic-end problem) connection)
        :message (flymake-diagnostic-text problem)))

;;;###autoload
(defun ingle-explain ()
  "Explain the region, or the function around point."
  (interactive)
  (let ((selection (ingle-actions--selection)))
    (deactivate-mark)
    (ingle-actions--run
     "ingle.explain"
     (lambda (connection)
       (list :uri (plist-get (ingle--document) :uri)
             :range (ingle--range (car selection) (cdr selection) connection)))
     ;; The text itself comes with `ingle/showMarkdown'.
     #'ignore)))

(define-derived-mode ingle-explanation-mode special-mode "Ingle-Explanation"
  "Mode of buffers with an explanation by the model."
  (visual-line-mode 1))

(defun ingle-actions--show-markdown (_connection params)
  "Show the explanation in PARAMS."
  (with-current-buffer (get-buffer-create "*ingle explanation*")
    (let ((inhibit-read-only t))
      (erase-buffer)
      (insert "# " (plist-get params :title) "\n\n" (plist-get params :markdown) "\n")
      (ingle-explanation-mode)
      (ingle-markdown-fontify (point-min) (point-max))
      (goto-char (point-min)))
    (display-buffer (current-buffer))))

;;;###autoload
(defun ingle-commit-message ()
  "Insert a message for what would be committed."
  (interactive "*")
  (let ((place (point-marker)))
    (ingle--obtain
     (lambda (connection)
       (ingle-actions--track
        connection
        (lambda (finish)
          (ingle--command
           connection "ingle.commitMessage"
           (list :uri (ingle--file-uri (ingle-actions--repository)))
           :always finish
           :then (lambda (result)
                   (ingle-actions--insert place (plist-get result :message)))
           :else #'ingle-actions--say-failure)))))))

(defun ingle-actions--repository ()
  "The repository's folder that a commit message is about.
A message is edited in .git, beside what is committed."
  (directory-file-name
   (expand-file-name
    (or (locate-dominating-file default-directory
                                (lambda (folder)
                                  (file-exists-p (expand-file-name ".git" folder))))
        default-directory))))

(defun ingle-actions--insert (place text)
  "Insert TEXT at PLACE, if that can still be done."
  (cond ((not (buffer-live-p (marker-buffer place)))
         (ingle--say "the buffer for the message is gone"))
        ((buffer-local-value 'buffer-read-only (marker-buffer place))
         (ingle--say "the buffer is read-only"))
        (t (with-current-buffer (marker-buffer place)
             (save-excursion
               (goto-char place)
               (undo-boundary)
               (insert text)
               (undo-boundary))
             (ingle--say (substitute-command-keys "done; \\[undo] undoes it"))))))

(provide 'ingle-actions)
;;; ingle-actions.el ends here
